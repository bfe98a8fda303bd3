package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"testing"
	"time"

	"surgecast/relay"
)

// storyWatcher is a viewer that sends each single request to another relay, as
// nothing should do and any player may: it must never see a 404, a step back
// or a stall. Where nobody answers, it asks another relay.
type storyWatcher struct {
	t      *testing.T
	name   int
	client *http.Client
	origin string          // base URL
	relays func() []string // base URLs, the dead ones too
	random *rand.Rand
	// patience is how long it waits for one answer before it asks another relay,
	// as it then does also after an answer that is not 200: where nodes are cut
	// from each other, some can't have what others have. 0: no answer may be wrong.
	patience time.Duration

	sentTo  string // where the origin sent its first request
	retries int    // requests that nobody answered
	parts   int
	audited int           // older objects of lists that it asked for
	latest  time.Duration // age of the newest media when its part was in hand
	media   time.Duration
	lastMSN uint64
}

func newStoryWatcher(s *story, i int, relays func() []string) *storyWatcher {
	return &storyWatcher{
		t: s.t, name: i, origin: storyBase(storyOrigin()), relays: relays,
		random: rand.New(rand.NewPCG(2012, uint64(i))),
		client: &http.Client{Transport: &http.Transport{
			DialContext: s.net.Host(storyViewer(i)).DialContext, MaxIdleConnsPerHost: 4,
		}},
	}
}

// storyRelays are the base URLs of the first n relays of a story.
func storyRelays(n int) []string {
	var bases []string
	for i := range n {
		bases = append(bases, storyBase(storyRelay(i)))
	}
	return bases
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
		err = &wrongAnswer{url, response.StatusCode}
	}
	return body, err
}

// wrongAnswer is what no viewer should get.
type wrongAnswer struct {
	url    string
	status int
}

func (e *wrongAnswer) Error() string { return fmt.Sprintf("%s: %d", e.url, e.status) }

// maxRetries is how many dead relays a viewer may meet in a row.
const maxRetries = 20

// anywhere asks a relay by chance, and another one if nobody answers there.
func (w *storyWatcher) anywhere(ctx context.Context, path string) ([]byte, error) {
	for try := 0; ; try++ {
		relays := w.relays()
		body, err := w.once(ctx, relays[w.random.IntN(len(relays))]+path)
		if err == nil || ctx.Err() != nil || try == maxRetries {
			return body, err
		}
		if wrong := (*wrongAnswer)(nil); errors.As(err, &wrong) && w.patience == 0 {
			return nil, err
		}
		w.retries++
		time.Sleep(w.patience / 10)
	}
}

// once asks one relay, and waits no longer than it has patience.
func (w *storyWatcher) once(ctx context.Context, url string) ([]byte, error) {
	if w.patience > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, w.patience)
		defer stop()
	}
	return w.get(ctx, url)
}

// audit asks, now and then, for something that the list names and that is not
// its newest part.
func (w *storyWatcher) audit(ctx context.Context, base string, p *relay.Playlist) error {
	if w.patience == 0 || w.random.IntN(5) > 0 || len(p.Segments) == 0 {
		return nil
	}
	segment := p.Segments[w.random.IntN(len(p.Segments))]
	names := []relay.MediaName{segment.Name, segment.Map}
	for _, part := range segment.Parts {
		names = append(names, part.Name)
	}
	w.audited++
	_, err := w.anywhere(ctx, base+names[w.random.IntN(len(names))].String())
	return err
}

// watch plays at the live edge until ctx ends.
func (w *storyWatcher) watch(ctx context.Context) {
	defer w.client.CloseIdleConnections()
	if err := w.play(ctx); ctx.Err() == nil {
		w.t.Errorf("viewer %d: %v", w.name, err)
	}
}

func (w *storyWatcher) play(ctx context.Context) error {
	index, err := w.get(ctx, w.origin+"/theatre/index.m3u8")
	if err != nil {
		return err
	}
	if w.origin == "http://"+w.sentTo {
		return fmt.Errorf("the origin served a viewer")
	}
	variants := readMultivariant(string(index)).variants
	if len(variants) == 0 {
		return fmt.Errorf("no variant in\n%s", index)
	}
	base := "/theatre/" + path.Base(path.Dir(variants[0].uri)) + "/"
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
		if err := w.audit(ctx, base, p); err != nil {
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

// storyLate is how late a part may be in hand after its end when all is well:
// a frame of the part after it (its end is not known before), 3 ways of 2 ms
// from the origin to a relay to a viewer, and the viewer's own two requests.
const storyLate = 40*time.Millisecond + 8*storyDelay

// check holds the viewer's evening to what was promised: all the media of the
// time, each part in hand at most so late after its end.
func (w *storyWatcher) check(watched, late time.Duration) {
	if w.media < watched-time.Second {
		w.t.Errorf("viewer %d got %v of media in %v", w.name, w.media, watched)
	}
	if w.latest > late {
		w.t.Errorf("viewer %d had a part %v after its end, want at most %v", w.name, w.latest, late)
	}
}
