package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"surgecast/relay"
)

// storyWatcher is a viewer that sends each single request to another relay, as
// nothing should do and any player may: it must never see a 404, a step back
// or a stall.
type storyWatcher struct {
	s      *story
	name   int
	client *http.Client
	relays []string // base URLs
	random *rand.Rand

	sentTo  string // where the origin sent its first request
	parts   int
	latest  time.Duration // age of the newest media when its part was in hand
	media   time.Duration
	lastMSN uint64
}

func newStoryWatcher(s *story, i, relays int) *storyWatcher {
	w := &storyWatcher{s: s, name: i, random: rand.New(rand.NewPCG(2012, uint64(i)))}
	w.client = &http.Client{Transport: &http.Transport{
		DialContext: s.net.Host(storyViewer(i)).DialContext, MaxIdleConnsPerHost: 4,
	}}
	for i := range relays {
		w.relays = append(w.relays, storyBase(storyRelay(i)))
	}
	return w
}

// get asks one node; the answer must be 200.
func (w *storyWatcher) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	w.sentTo = response.Request.URL.Host
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return body, err
}

// anywhere asks a relay by chance.
func (w *storyWatcher) anywhere(ctx context.Context, path string) ([]byte, error) {
	return w.get(ctx, w.relays[w.random.IntN(len(w.relays))]+path)
}

// watch plays at the live edge until ctx ends.
func (w *storyWatcher) watch(ctx context.Context) {
	defer w.client.CloseIdleConnections()
	if err := w.play(ctx); ctx.Err() == nil {
		w.s.t.Errorf("viewer %d: %v", w.name, err)
	}
}

func (w *storyWatcher) play(ctx context.Context) error {
	index, err := w.get(ctx, storyBase(storyOrigin())+"/theatre/index.m3u8")
	if err != nil {
		return err
	}
	if strings.HasPrefix(w.sentTo, storyOrigin()+":") {
		return fmt.Errorf("the origin served a viewer")
	}
	renditions, err := relay.ParseMultivariant(index)
	if err != nil {
		return err
	}
	base := "/theatre/" + renditions[0] + "/"
	text, err := w.anywhere(ctx, base+"live.m3u8")
	if err != nil {
		return err
	}
	p, err := relay.ParsePlaylist(text)
	if err != nil {
		return err
	}
	if _, err := w.anywhere(ctx, base+p.Open.Map.String()); err != nil {
		return err
	}
	for {
		msn, part := p.OpenSequence(), len(p.Open.Parts)
		text, err := w.anywhere(ctx, fmt.Sprintf("%slive.m3u8?_HLS_msn=%d&_HLS_part=%d", base, msn, part))
		if err != nil {
			return err
		}
		if p, err = relay.ParsePlaylist(text); err != nil {
			return err
		}
		if err := w.take(ctx, base, p, msn, part); err != nil {
			return err
		}
	}
}

// take fetches the part that was waited for, which must be in the list.
func (w *storyWatcher) take(ctx context.Context, base string, p *relay.Playlist, msn uint64, part int) error {
	if p.OpenSequence() < w.lastMSN {
		return fmt.Errorf("segment %d after %d: a step back", p.OpenSequence(), w.lastMSN)
	}
	w.lastMSN = p.OpenSequence()
	parts := p.Open.Parts
	if msn < p.OpenSequence() {
		parts = p.Segments[msn-p.MediaSequence].Parts
	}
	if part >= len(parts) {
		return fmt.Errorf("part %d of segment %d is not in the list that was held for it", part, msn)
	}
	if _, err := w.anywhere(ctx, base+parts[part].Name.String()); err != nil {
		return err
	}
	w.parts++
	w.media += parts[part].Duration
	w.latest = max(w.latest, time.Since(p.End()))
	return nil
}

// check holds the viewer's evening to what was promised: all the media of the
// time, each part in hand within 40 ms of its end. That is: a frame of the
// part after it (its end is not known before), 3 ways of 2 ms from the origin
// to a relay to a viewer, and the viewer's own two requests.
func (w *storyWatcher) check(watched time.Duration) {
	if w.media < watched-time.Second {
		w.s.t.Errorf("viewer %d got %v of media in %v", w.name, w.media, watched)
	}
	if limit := 40*time.Millisecond + 8*storyDelay; w.latest > limit {
		w.s.t.Errorf("viewer %d had a part %v after its end, want at most %v", w.name, w.latest, limit)
	}
}
