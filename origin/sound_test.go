package origin_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

func separate() origin.StreamConfig {
	return origin.StreamConfig{Audio: origin.AudioSeparate, Languages: []string{"de", "en"}}
}

func TestSoundsAreRenditions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// Two tracks are renditions even where one would be muxed.
		s := newStageWith(t, t.TempDir(), origin.StreamConfig{Languages: []string{"de"}})
		source := &origintest.Source{FPS: 30, GOP: 60, Audio: true, Sounds: 2, PictureBytes: 2000}
		p := s.publish(source)
		in := inspect(s)
		in.play(p, source, 10500*time.Millisecond, nil)
		stream := s.store.Stream("theatre")
		golden(t, "index-sounds.m3u8", string(stream.Index()))
		golden(t, "sound.m3u8", string(stream.Window("audio-1").Version().Text))
		if renditions, err := relay.ParseMultivariant(stream.Index()); err != nil || strings.Join(renditions, " ") != "main audio-0 audio-1" {
			t.Error(renditions, err)
		}
		if c := catalogueOf(t, s); strings.Join(c.Streams[0].Renditions, " ") != "main audio-0 audio-1" || !c.Streams[0].Live {
			t.Errorf("%+v", c.Streams[0])
		}
	})
}

// Sound that comes with the picture's end, or up to four parts later, is there;
// what comes out of step is not lost and does not move the picture.
func TestSoundComesLate(t *testing.T) {
	for _, late := range []time.Duration{0, 100 * time.Millisecond, 600 * time.Millisecond} {
		bubble(t, func(t *testing.T) {
			s := newStageWith(t, t.TempDir(), separate())
			source := &origintest.Source{FPS: 25, GOP: 50, Audio: true}
			p := s.publish(source)
			in := inspect(s)
			in.apart = true
			var held []origin.Unit
			in.play(p, source, 20*time.Second, func(u origin.Unit) bool {
				if u.Track == 1 {
					held = append(held, u)
				}
				for len(held) > 0 && time.Since(held[0].WallTime) >= late {
					if err := p.Write(held[0]); err != nil {
						t.Fatal(err)
					}
					held = held[1:]
				}
				return u.Track == 1
			})
			if r := in.renditions["audio-0"]; r == nil || r.gaps > 0 || len(r.last.Playlist.Segments) < 8 {
				t.Errorf("%v late: %+v", late, r)
			}
		})
	}
}

// Where frames of sound come many at once, no segment of theirs is closed right
// behind the news of a part of it: hls.js stands then.
func TestSoundInBursts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), separate())
		source := &origintest.Source{FPS: 25, GOP: 25, Audio: true}
		p := s.publish(source)
		in := inspect(s)
		in.apart = true
		var (
			held   []origin.Unit
			last   *relay.Version
			lastAt time.Time
			closed int
		)
		look := func() {
			in.look()
			r := in.renditions["audio-0"]
			if r == nil || r.last == last {
				return
			}
			if last != nil && len(last.Playlist.Open.Parts) > 0 && r.last.Playlist.OpenSequence() > last.Playlist.OpenSequence() {
				closed++
				if spent := time.Since(lastAt); spent < last.Playlist.PartTarget/2 {
					t.Errorf("a segment is closed %v after the part before", spent)
				}
			}
			last, lastAt = r.last, time.Now()
		}
		in.play(p, source, 20*time.Second, func(u origin.Unit) bool {
			now := []origin.Unit{u}
			if u.Track == 1 {
				held, now = append(held, u), nil
				if len(held) == 13 {
					held, now = nil, held
				}
			}
			for _, u := range now {
				if err := p.Write(u); err != nil {
					t.Fatal(err)
				}
				look()
			}
			return true
		})
		if r := in.renditions["audio-0"]; r.gaps > 0 || closed < 15 {
			t.Errorf("%d gaps, %d segments closed", r.gaps, closed)
		}
	})
}

// Where the sound is announced and missing at the first publication, no player
// is promised any.
func TestMissingSoundIsNotPromised(t *testing.T) {
	for _, config := range []origin.StreamConfig{{}, separate()} {
		bubble(t, func(t *testing.T) {
			s := newStageWith(t, t.TempDir(), config)
			source := &origintest.Source{FPS: 25, Audio: true}
			tracks := source.Tracks()
			tracks[1].Missing = true
			p, err := s.Publish("theatre", tracks)
			if err != nil {
				t.Fatal(err)
			}
			s.play(p, source, 3*time.Second)
			if index := string(s.store.Stream("theatre").Index()); strings.Contains(index, "mp4a") || strings.Contains(index, "AUDIO") {
				t.Error(index)
			}
			if problems := hlscheck.CheckFragments(s.objects[s.newest().Open.Map].Body, nil); len(problems) > 0 {
				t.Error(problems)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), separate())
		source := &origintest.Source{FPS: 25, Audio: true}
		p := s.publish(source)
		in := inspect(s)
		in.play(p, source, 20*time.Second, nil)
		if err := s.End("theatre"); err != nil {
			t.Fatal(err)
		}
		in.look()
		for name, r := range in.renditions {
			if text := string(r.last.Text); !strings.HasSuffix(text, ".m4s\n#EXT-X-ENDLIST\n") {
				t.Errorf("%s: %s", name, text[len(text)-200:])
			}
		}
		if err := p.Write(source.Next()[0]); !errors.Is(err, origin.ErrEnded) {
			t.Errorf("write: %v", err)
		}
		if _, err := s.Publish("theatre", source.Tracks()); !errors.Is(err, origin.ErrEnded) {
			t.Errorf("publish: %v", err)
		}
		if err := errors.Join(s.End("theatre"), s.End("theatre")); err != nil {
			t.Errorf("end twice: %v", err)
		}
		time.Sleep(19 * time.Second)
		if c := catalogueOf(t, s); len(c.Streams) != 1 || s.store.Stream("theatre") == nil {
			t.Error("forgotten before one length of the list")
		}
		time.Sleep(2 * time.Second)
		if c := catalogueOf(t, s); len(c.Streams) != 0 || s.store.Stream("theatre") != nil {
			t.Error("not forgotten")
		}
		if err := s.End("cinema"); !errors.Is(err, origin.ErrUnknownStream) {
			t.Error(err)
		}
	})
}

func TestMarks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), separate())
		source := &origintest.Source{FPS: 25, GOP: 50, Audio: true}
		p := s.publish(source)
		in := inspect(s)
		in.play(p, source, 10*time.Second, nil)
		for id, length := range map[string]time.Duration{"act": 5 * time.Second, "evening": -1} {
			d, err := relay.NewDateRange(id, time.Now(), length, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Mark("theatre", d); err != nil {
				t.Fatal(err)
			}
			if err := s.Mark("theatre", d); !errors.Is(err, origin.ErrDateRange) {
				t.Errorf("twice: %v", err)
			}
		}
		if d, err := relay.NewDateRange("past", time.Now().Add(-time.Minute), 5*time.Second, ""); err != nil {
			t.Fatal(err)
		} else if err := s.Mark("theatre", d); !errors.Is(err, origin.ErrDateRange) {
			t.Errorf("before the list: %v", err)
		}
		in.play(p, source, 10*time.Second, nil)
		for name, r := range in.renditions {
			if n := len(r.last.Playlist.DateRanges); n != 2 {
				t.Errorf("%s: %d ranges", name, n)
			}
		}
		in.play(p, source, 70*time.Second, nil)
		for name, r := range in.renditions {
			if d := r.last.Playlist.DateRanges; len(d) != 1 || d[0].ID != "evening" {
				t.Errorf("%s: %+v", name, d)
			}
		}
	})
}

// catalogueOf is what a relay is told now.
func catalogueOf(t *testing.T, s *stage) relay.Catalogue {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	answer := &firstLine{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
	s.Control().ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, relay.ControlPath, nil))
	c, err := relay.OpenCatalogue(answer.Body.Bytes(), authority.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// firstLine ends a request with the first line of its answer.
type firstLine struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

func (f *firstLine) Write(b []byte) (int, error) {
	defer f.cancel()
	return f.ResponseRecorder.Write(b)
}

// Sound that a stream has promised and an encoder does not send is silence,
// without a hole.
func TestMissingSoundIsSilence(t *testing.T) {
	for _, mode := range []origin.AudioMode{origin.AudioMuxed, origin.AudioSeparate} {
		t.Run(string(mode), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				in := inspect(newStageWith(t, t.TempDir(), origin.StreamConfig{Audio: mode}))
				for _, sound := range []bool{true, false, true} {
					source := &origintest.Source{Audio: sound, GOP: 25}
					in.play(in.publish(source), source, 6*time.Second, nil)
				}
				for name, r := range in.renditions {
					silent := 0
					for _, s := range r.last.Playlist.Segments {
						if s.Gap {
							t.Fatalf("%s: segment %d is a gap", name, s.Name.Number)
						}
						var parts fmp4.Parts
						if err := parts.Unmarshal(in.body(r, s.Name)); err != nil {
							t.Fatal(err)
						}
						for _, part := range parts {
							for _, track := range part.Tracks {
								for _, sample := range track.Samples {
									if track.ID == 2 && bytes.Equal(sample.Payload, []byte{0x20, 0, 0, 0, 0, 0, 0x0e}) {
										silent++
									}
								}
							}
						}
					}
					want := 6 * 48000 / 1024
					if name == "main" && mode == origin.AudioSeparate {
						want = 0
					}
					if silent < want-5 || silent > want+20 {
						t.Errorf("%s: %d frames of silence, want %d", name, silent, want)
					}
				}
			})
		})
	}
}
