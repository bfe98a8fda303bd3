package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// maxHeldBytes bounds what a relay tells of what it holds: maxStreams streams
// of some renditions are far below.
const maxHeldBytes = 4 << 20

// Holder is a relay that is asked for what it holds. Its contexts bound the
// time.
type Holder struct {
	Base       string // http://192.0.2.7:8080
	Client     *http.Client
	Credential *Credential
}

// holderPatience bounds one answer, beside the context.
const holderPatience = 10 * time.Second

func (h Holder) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	asker := Follower{FollowerConfig: FollowerConfig{Client: h.Client, Credential: h.Credential}}
	body, _, err := asker.get(ctx, h.Base+path, limit, holderPatience)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Base, err)
	}
	return body, nil
}

// Held returns what the relay holds.
func (h Holder) Held(ctx context.Context) (held Held, err error) {
	text, err := h.get(ctx, HeldPath, maxHeldBytes)
	if err != nil {
		return held, err
	}
	if err := json.Unmarshal(text, &held); err != nil {
		return held, fmt.Errorf("%s: read what it holds: %w", h.Base, err)
	}
	return held, nil
}

// List returns the newest list of a rendition. Errors: ErrPlaylist, and those
// of the way there.
func (h Holder) List(ctx context.Context, stream, rendition string) (*Playlist, error) {
	text, err := h.get(ctx, HeldPath+"/"+stream+"/"+rendition, maxPlaylistBytes)
	if err != nil {
		return nil, err
	}
	return ParsePlaylist(text)
}

// Index returns the multivariant playlist of a stream.
func (h Holder) Index(ctx context.Context, stream string) ([]byte, error) {
	return h.get(ctx, "/"+stream+"/index.m3u8", maxPlaylistBytes)
}

// Media returns a whole object.
func (h Holder) Media(ctx context.Context, stream, rendition string, name MediaName) ([]byte, error) {
	body, err := h.get(ctx, "/"+stream+"/"+rendition+"/"+name.String(), maxObjectBytes)
	if err == nil && len(body) == 0 {
		err = fmt.Errorf("%s: %v: %w", h.Base, name, errShort)
	}
	return body, err
}
