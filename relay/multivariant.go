package relay

import (
	"bytes"
	"errors"
	"fmt"
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

// ErrMultivariant is wrapped by every error of ParseMultivariant.
var ErrMultivariant = errors.New("bad multivariant playlist")

// MultivariantText returns the multivariant playlist of these variants, the
// first being what a player starts with. EXT-X-INDEPENDENT-SEGMENTS is not
// claimed: a segment that was cut by force begins without a key frame.
func MultivariantText(variants []Variant) []byte {
	p := m3u8.NewMasterPlaylist()
	p.SetVersion(playlistVersion)
	for _, v := range variants {
		params := m3u8.VariantParams{
			Bandwidth:        uint32(min(v.Bandwidth, 1<<32-1)),
			AverageBandwidth: uint32(min(v.AverageBandwidth, 1<<32-1)),
			Codecs:           strings.Join(v.Codecs, ","),
			FrameRate:        v.FrameRate,
		}
		if v.Width > 0 && v.Height > 0 {
			params.Resolution = fmt.Sprintf("%dx%d", v.Width, v.Height)
		}
		p.Append(liveURI(v.Rendition), nil, params)
	}
	// PROGRAM-ID left the protocol with version 6; the library still writes it.
	return bytes.ReplaceAll(p.Encode().Bytes(), []byte("PROGRAM-ID=0,"), nil)
}

func liveURI(rendition string) string { return rendition + "/live.m3u8" }

// maxVariants bounds a parent's multivariant playlist.
const maxVariants = 64

// ParseMultivariant returns the renditions that a multivariant playlist names,
// in its order. It takes only lists of our own form, {rendition}/live.m3u8.
// Errors wrap ErrMultivariant.
func ParseMultivariant(text []byte) (renditions []string, err error) {
	// A list from outside must not end the process, whatever the library makes
	// of it.
	defer func() {
		if r := recover(); r != nil {
			renditions, err = nil, fmt.Errorf("%w: %v", ErrMultivariant, r)
		}
	}()
	if len(text) > maxPlaylistBytes || !bytes.HasPrefix(text, []byte("#EXTM3U")) {
		return nil, fmt.Errorf("%w: the first line is not #EXTM3U", ErrMultivariant)
	}
	p := m3u8.NewMasterPlaylist()
	if err := p.DecodeFrom(bytes.NewReader(text), true); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMultivariant, err)
	}
	if len(p.Variants) == 0 || len(p.Variants) > maxVariants {
		return nil, fmt.Errorf("%w: %d variants, want 1 to %d", ErrMultivariant, len(p.Variants), maxVariants)
	}
	for _, v := range p.Variants {
		rendition, ok := strings.CutSuffix(v.URI, "/live.m3u8")
		if !ok || !validLabel(rendition) {
			return nil, fmt.Errorf("%w: variant %q is not {rendition}/live.m3u8", ErrMultivariant, clip(v.URI))
		}
		renditions = append(renditions, rendition)
	}
	return renditions, nil
}
