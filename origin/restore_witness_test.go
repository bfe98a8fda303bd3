package origin_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

// holder is a relay that holds what a stage published, as far as it does not
// lack it.
type holder struct {
	held    relay.Held
	index   []byte
	lists   map[string][]byte // by rendition
	objects map[string][]byte // by path below the stream
	lacks   func(path string) bool

	mu    sync.Mutex
	asked int
}

// hold takes over what a stage has published up to now.
func hold(t testing.TB, s *stage) *holder {
	t.Helper()
	c := relay.Catalogue{Serial: 1, Epoch: s.Epoch()}
	line, err := c.Sign(authority)
	if err != nil {
		t.Fatal(err)
	}
	st := s.store.Stream("theatre")
	h := &holder{index: st.Index(), lists: map[string][]byte{}, objects: map[string][]byte{}}
	one := relay.HeldStream{Name: "theatre"}
	for _, rendition := range st.Renditions() {
		v := st.Window(rendition).Version()
		h.lists[rendition] = v.Text
		one.Renditions = append(one.Renditions, relay.HeldRendition{
			Name: rendition, Open: v.Playlist.OpenSequence(), Parts: len(v.Playlist.Open.Parts),
		})
		for _, segment := range append(v.Playlist.Segments, v.Playlist.Open) {
			names := []relay.MediaName{segment.Map, segment.Name}
			for _, part := range segment.Parts {
				names = append(names, part.Name)
			}
			for _, name := range names {
				if o, err := st.Window(rendition).Media(t.Context(), name); err == nil {
					h.objects[rendition+"/"+name.String()] = o.Body
				}
			}
		}
	}
	h.held = relay.Held{Version: 1, Catalogue: line, Streams: []relay.HeldStream{one}}
	return h
}

// RoundTrip answers as a relay does.
func (h *holder) RoundTrip(r *http.Request) (*http.Response, error) {
	path, body := r.URL.Path, []byte(nil)
	rest, media := strings.CutPrefix(path, "/theatre/")
	switch {
	case path == relay.HeldPath:
		body, _ = json.Marshal(h.held)
	case strings.HasPrefix(path, relay.HeldPath):
		body = h.lists[filepath.Base(path)]
	case rest == "index.m3u8":
		body = h.index
	case media && (h.lacks == nil || !h.lacks(rest)):
		h.mu.Lock()
		h.asked++
		h.mu.Unlock()
		body = h.objects[rest]
	}
	status := http.StatusOK
	if body == nil {
		status = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Request: r,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

func (h *holder) witness(t testing.TB) origin.Witness {
	t.Helper()
	w := origin.Witness{Holder: relay.Holder{
		Base: "http://192.0.2.7:8080", Client: &http.Client{Transport: h}, Credential: relay.NewCredential([]byte("secret")),
	}}
	var err error
	if w.Held, err = w.Holder.Held(context.Background()); err != nil {
		t.Fatal(err)
	}
	return w
}

// reviveBeside is revive with relays that are asked.
func reviveBeside(t testing.TB, dir string, holders ...*holder) *stage {
	t.Helper()
	var witnesses []origin.Witness
	for _, h := range holders {
		witnesses = append(witnesses, h.witness(t))
	}
	return newStageAfter(t, dir, apart, func(o *origin.Origin) {
		if err := o.Restore(t.Context(), witnesses); err != nil {
			t.Fatal(err)
		}
	})
}

// apart is a stream with its sound in a rendition of its own.
var apart = origin.StreamConfig{Audio: origin.AudioSeparate, OnLoss: origin.StandOnLoss}

// pastLife plays in a bubble of its own, an hour later than the others begin,
// and returns its disk of some seconds before the end.
func pastLife(t *testing.T) (before *stage, relays *holder, disk string) {
	dir, older := t.TempDir(), t.TempDir()
	bubble(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		source := &origintest.Source{FPS: 25, Audio: true}
		before = newStageWith(t, dir, apart)
		p := before.publish(source)
		before.play(p, source, 12300*time.Millisecond)
		synctest.Wait() // for the journals
		if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		before.play(p, source, 3*time.Second)
		before.look()
		relays = hold(t, before)
	})
	return before, relays, older
}

// With the disk lost and the clock an hour back, all comes from a relay.
func TestRestoreFromRelays(t *testing.T) {
	before, relays, _ := pastLife(t)
	for name, c := range map[string]struct {
		lacks func(string) bool
		from  uint64 // segments of the old list that can't be had
	}{
		"all": {},
		"a segment is lost": {lacks: func(path string) bool {
			return strings.Contains(path, relay.MediaName{Kind: relay.SegmentMedia, Epoch: before.Epoch(), Number: before.versions[0].Playlist.MediaSequence + 2}.String())
		}, from: 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				relays.lacks = c.lacks
				again := reviveBeside(t, t.TempDir(), relays)
				last := before.versions[len(before.versions)-1].Playlist
				p := again.newest()
				if again.Epoch() <= before.Epoch() || p.MediaSequence != last.MediaSequence+c.from || p.OpenSequence() < last.OpenSequence() {
					t.Errorf("epoch %v after %v, segments %d to %d after %d to %d", again.Epoch(), before.Epoch(),
						p.MediaSequence, p.OpenSequence(), last.MediaSequence, last.OpenSequence())
				}
				source := &origintest.Source{FPS: 25, Audio: true}
				again.play(again.publish(source), source, 6*time.Second)
				again.checkEach()
				checkSeam(t, before, again)
			})
		})
	}
}

// The disk is behind the relays by some seconds: it is asked first, they for the
// rest.
func TestRestoreFromDiskAndRelays(t *testing.T) {
	before, relays, older := pastLife(t)
	alone := t.TempDir()
	if err := os.CopyFS(alone, os.DirFS(older)); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		all := len(relays.objects)
		again := reviveBeside(t, older, relays)
		last := before.versions[len(before.versions)-1].Playlist
		if p := again.newest(); p.OpenSequence() < last.OpenSequence() || p.MediaSequence != last.MediaSequence {
			t.Errorf("segments %d to %d", p.MediaSequence, p.OpenSequence())
		}
		if relays.asked == 0 || relays.asked > all/2 {
			t.Errorf("%d of %d objects were fetched", relays.asked, all)
		}
	})
	// Without relays, the journal tells that the disk lacks what was published:
	// who has seen it must not see its numbers again.
	journal := filepath.Join(alone, "journal.json")
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	last := before.versions[len(before.versions)-1].Playlist
	text = regexpMediaSequence.ReplaceAll(text, fmt.Appendf(nil, `"media_sequence": %d`, last.OpenSequence()))
	if err := os.WriteFile(journal, text, 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		again := reviveBeside(t, alone)
		source := &origintest.Source{FPS: 25, Audio: true}
		again.play(again.publish(source), source, 3*time.Second)
		if p := again.newest(); p.MediaSequence < last.OpenSequence()+10 {
			t.Errorf("goes on with segment %d after %d", p.MediaSequence, last.OpenSequence())
		}
	})
}

var regexpMediaSequence = regexp.MustCompile(`"media_sequence": \d+`)

// A relay can't make the epoch rise by a word of its own, nor send the origin
// what is no list or no media of it.
func TestRestoreFromABadRelay(t *testing.T) {
	before, relays, _ := pastLife(t)
	other, err := relay.Catalogue{Serial: 1, Epoch: 0xfffffff0}.Sign(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*holder){
		"epoch": func(h *holder) { h.held.Catalogue = other },
		"list":  func(h *holder) { h.lists["main"] = []byte("#EXTM3U\nwhat\n") },
		"ended": func(h *holder) { h.lists["main"] = append(bytes.Clone(h.lists["main"]), "#EXT-X-ENDLIST\n"...) },
		"index": func(h *holder) { h.index = []byte("<html>") },
		"media": func(h *holder) { h.objects = map[string][]byte{} },
		"boxes": func(h *holder) {
			maps.DeleteFunc(h.objects, func(path string, body []byte) bool { body[3] ^= 1; return false })
		},
		"sounds": func(h *holder) { delete(h.lists, "audio-0") },
	} {
		t.Run(name, func(t *testing.T) {
			bad := holder{held: relays.held, index: relays.index, lists: maps.Clone(relays.lists), objects: map[string][]byte{}}
			for path, body := range relays.objects {
				bad.objects[path] = bytes.Clone(body)
			}
			spoil(&bad)
			bubble(t, func(t *testing.T) {
				again := reviveBeside(t, t.TempDir(), &bad)
				if again.window.Version() != nil {
					t.Fatal("it was restored")
				}
				last := before.versions[len(before.versions)-1].Playlist
				source := &origintest.Source{FPS: 25, Audio: true}
				again.play(again.publish(source), source, 3*time.Second)
				if p := again.newest(); p.MediaSequence < last.OpenSequence()+10 || again.Epoch() >= 0xfffffff0 {
					t.Errorf("goes on with segment %d of epoch %v after %d", p.MediaSequence, again.Epoch(), last.OpenSequence())
				}
			})
		})
	}
}
