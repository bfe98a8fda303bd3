package relay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Version is one version of a media playlist. It is made once, never changes,
// and the same bytes answer everybody who waits for it.
type Version struct {
	Text     []byte
	Playlist *Playlist

	// On a relay, where it was fetched. It is set before others see it.
	parent string // base URL; "" on an origin
	chain  Chain

	layout layout
	full   *rendering
	delta  func() *rendering // the full one where there is nothing to skip
}

// ClosedLength returns how much of Text says what no longer changes but at its
// front: all up to the open segment.
func (v *Version) ClosedLength() int { return v.layout.segments[len(v.layout.segments)-1] }

// rendering is one way in which a version goes out.
type rendering struct {
	text []byte
	etag string
	gzip func() []byte // of text, compressed for the first who asks
	// private: it was made for one viewer, and no cache keeps it.
	private bool
	// leads is the pathway of the other relay at which a multivariant playlist
	// lets its viewers begin; "" when it is this one.
	leads string

	answers [listWays]atomic.Pointer[prepared] // by listGzip and listBlocking; nil until asked for
}

// newVersion reads text and returns it as a version. It keeps text.
func newVersion(text []byte) (*Version, error) {
	p, l, err := parsePlaylist(text)
	if err != nil {
		return nil, err
	}
	v := &Version{Text: text, Playlist: p, layout: l, full: newRendering(text)}
	v.delta = sync.OnceValue(v.renderDelta)
	return v, nil
}

func newRendering(text []byte) *rendering {
	sum := sha256.Sum256(text)
	return &rendering{
		text: text,
		etag: hex.EncodeToString(sum[:8]),
		gzip: sync.OnceValue(func() []byte { return compress(text) }),
	}
}

// renderDelta cuts the playlist delta update: what is farther from the end
// than CAN-SKIP-UNTIL becomes one EXT-X-SKIP, all else stays to the letter.
// The MAP in force is said again, for clients that keep no state; DATERANGEs all
// stay, as SERVER-CONTROL offers no more (see docs/decisions.md).
func (v *Version) renderDelta() *rendering {
	skipped := v.Playlist.skippable()
	if skipped == 0 {
		return v.full
	}
	starts := v.layout.segments
	var b bytes.Buffer
	b.Write(v.Text[:starts[0]])
	b.WriteString("#EXT-X-SKIP:SKIPPED-SEGMENTS=" + strconv.Itoa(skipped) + "\n")
	for _, r := range v.layout.ranges {
		if r[0] < starts[skipped] {
			b.Write(v.Text[r[0]:r[1]])
		}
	}
	rest := v.Text[starts[skipped]:]
	first := v.Playlist.Open
	end := len(rest)
	if skipped < len(v.Playlist.Segments) {
		first, end = v.Playlist.Segments[skipped], starts[skipped+1]-starts[skipped]
	}
	if first.Map.Kind == Init && !bytes.Contains(rest[:end], []byte("#EXT-X-MAP:")) {
		b.WriteString(`#EXT-X-MAP:URI="` + first.Map.String() + "\"\n")
	}
	b.Write(rest)
	delta := newRendering(b.Bytes())
	delta.etag = v.full.etag + deltaMark
	return delta
}

// skippable returns how many segments from the front lie wholly before the
// Skip Boundary, which is counted from the end of the list.
func (p *Playlist) skippable() int {
	if p.CanSkipUntil == 0 || p.Ended {
		return 0
	}
	var after time.Duration
	for i := range p.Open.Parts {
		after += p.Open.Parts[i].Duration
	}
	n := len(p.Segments)
	for n > 0 && after < p.CanSkipUntil {
		n--
		after += p.Segments[n].Duration
	}
	return n
}

func compress(text []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	// Neither can fail: a bytes.Buffer takes all.
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}
