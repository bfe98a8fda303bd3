package relay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/grafov/m3u8"
)

// This is the one file that meets grafov/m3u8. The library writes and reads
// multivariant playlists; media playlists are this package's own, since it has
// no low-latency tags and cuts EXTINF to three decimals.

// Variant is one line of a multivariant playlist.
type Variant struct {
	Rendition        string   // "main": the list is at main/live.m3u8
	Bandwidth        int64    // peak, bits/s
	AverageBandwidth int64    // bits/s
	Codecs           []string // RFC 6381, video first
	Width, Height    int      // 0 when there is no video
	FrameRate        float64  // frames/s, 0 when not known
}

// Sound is an audio rendition beside the variants: one EXT-X-MEDIA line.
type Sound struct {
	Rendition string // "audio-0": the list is at audio-0/live.m3u8
	Name      string // what a player's menu shows, one of its own for each
	Language  string // RFC 5646, "" when not known
	Channels  int    // 0 when not known
	Default   bool   // what a player plays unless told otherwise; one of all
}

// soundGroup is the one group that all sounds are in: each variant goes with
// each of them.
const soundGroup = "audio"

// ErrMultivariant is wrapped by every error of ParseMultivariant.
var ErrMultivariant = errors.New("bad multivariant playlist")

// MultivariantText returns the multivariant playlist of these variants, the
// first being what a player starts with, and of the sounds that go with each of
// them, if they are not muxed in. A variant's rates and codecs are then those
// of the picture and of the fattest sound together. EXT-X-INDEPENDENT-SEGMENTS is not
// claimed: a segment that was cut by force begins without a key frame.
func MultivariantText(variants []Variant, sounds ...Sound) []byte {
	p := m3u8.NewMasterPlaylist()
	p.SetVersion(playlistVersion)
	var media []*m3u8.Alternative
	for _, s := range sounds {
		media = append(media, &m3u8.Alternative{
			Type: "AUDIO", GroupId: soundGroup, URI: liveURI(s.Rendition),
			Name: s.Name, Language: s.Language, Default: s.Default, Autoselect: "YES",
		})
	}
	for _, v := range variants {
		params := m3u8.VariantParams{
			Bandwidth:        uint32(min(v.Bandwidth, 1<<32-1)),
			AverageBandwidth: uint32(min(v.AverageBandwidth, 1<<32-1)),
			Codecs:           strings.Join(v.Codecs, ","),
			FrameRate:        v.FrameRate,
			Alternatives:     media,
		}
		if len(media) > 0 {
			params.Audio = soundGroup
		}
		if v.Width > 0 && v.Height > 0 {
			params.Resolution = fmt.Sprintf("%dx%d", v.Width, v.Height)
		}
		p.Append(liveURI(v.Rendition), nil, params)
	}
	// PROGRAM-ID left the protocol with version 6; the library still writes it.
	text := bytes.ReplaceAll(p.Encode().Bytes(), []byte("PROGRAM-ID=0,"), nil)
	for _, s := range sounds {
		if s.Channels > 0 { // which it does not know
			uri := `,URI="` + liveURI(s.Rendition) + `"`
			text = bytes.Replace(text, []byte(uri), fmt.Appendf(nil, `,CHANNELS="%d"%s`, s.Channels, uri), 1)
		}
	}
	return text
}

func liveURI(rendition string) string { return rendition + "/live.m3u8" }

// maxVariants bounds a parent's multivariant playlist.
const maxVariants = 64

// ParseMultivariant returns the renditions that a multivariant playlist names:
// the variants' in its order, then those of EXT-X-MEDIA. It takes only lists of our own form, {rendition}/live.m3u8.
// Errors wrap ErrMultivariant.
func ParseMultivariant(text []byte) (renditions []string, err error) {
	p, err := decodeMultivariant(text)
	if err != nil {
		return nil, err
	}
	var uris, media []string
	for _, v := range p.Variants {
		uris = append(uris, v.URI)
		for _, a := range v.Alternatives {
			if a.URI != "" { // else it is within the variant
				media = append(media, a.URI)
			}
		}
	}
	for _, uri := range append(uris, media...) {
		rendition, ok := strings.CutSuffix(uri, "/live.m3u8")
		if !ok || !validLabel(rendition) {
			return nil, fmt.Errorf("%w: %q is not {rendition}/live.m3u8", ErrMultivariant, clip(uri))
		}
		if !slices.Contains(renditions, rendition) {
			renditions = append(renditions, rendition)
		}
	}
	if len(renditions) > maxVariants {
		return nil, fmt.Errorf("%w: %d renditions, want at most %d", ErrMultivariant, len(renditions), maxVariants)
	}
	return renditions, nil
}

// decodeMultivariant reads a list with at least one variant.
func decodeMultivariant(text []byte) (p *m3u8.MasterPlaylist, err error) {
	// A list from outside must not end the process, whatever the library makes
	// of it.
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%w: %v", ErrMultivariant, r)
		}
	}()
	if len(text) > maxPlaylistBytes || !bytes.HasPrefix(text, []byte("#EXTM3U")) {
		return nil, fmt.Errorf("%w: the first line is not #EXTM3U", ErrMultivariant)
	}
	p = m3u8.NewMasterPlaylist()
	if err := p.DecodeFrom(bytes.NewReader(text), true); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMultivariant, err)
	}
	if len(p.Variants) == 0 || len(p.Variants) > maxVariants {
		return nil, fmt.Errorf("%w: %d variants, want 1 to %d", ErrMultivariant, len(p.Variants), maxVariants)
	}
	return p, nil
}
