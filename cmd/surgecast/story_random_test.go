package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
	"surgecast/relay"
)

// roster is the relays that viewers know of: it grows, and the dead stay on
// it.
type roster struct {
	mu    sync.Mutex
	bases []string
}

func (r *roster) add(base string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bases = append(r.bases, base)
}

func (r *roster) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bases
}

// Minutes in which viewers send each request to one of five relays by chance;
// two of these are killed and two are added on the way. No answer is wrong,
// nothing steps back, nobody's buffer runs empty.
func TestStoryOfRandomRelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const viewers = 4
		evening := sized(time.Minute, 5*time.Minute)
		s := newStory(t)
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		known := &roster{}
		for i := range 5 {
			s.startRelay(nodes, i)
			known.add(storyBase(storyRelay(i)))
		}
		time.Sleep(5 * time.Second)
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
		time.Sleep(4 * time.Second)

		began := time.Now()
		watching, stopViewers := context.WithDeadline(t.Context(), began.Add(evening))
		defer stopViewers()
		var crowd sync.WaitGroup
		all := make([]*storyWatcher, viewers)
		for i := range all {
			all[i] = newStoryWatcher(s, i, known.all)
			crowd.Go(func() { all[i].watch(watching) })
		}
		s.unrest(nodes, known)
		crowd.Wait()
		retries := 0
		for _, w := range all {
			// What a player that starts PART-HOLD-BACK behind has in its buffer.
			w.check(evening, relay.DefaultConstants().PartHoldBack)
			retries += w.retries
		}
		if retries == 0 {
			t.Error("no viewer met a dead relay")
		}
		t.Logf("%d viewers asked dead relays %d times; parts were %v old at most", viewers, retries, latest(all))
		stopFeed()
		time.Sleep(time.Second)
		stopNodes()
		s.end()
	})
}

// unrest kills and adds relays, at odd times within the parts.
func (s *story) unrest(ctx context.Context, known *roster) {
	random := rand.New(rand.NewPCG(2012, 5))
	between := sized(10*time.Second, 30*time.Second)
	pause := func() { time.Sleep(between + time.Duration(random.Int64N(int64(time.Second)))) }
	pause()
	s.kill(1)
	pause()
	s.join(ctx, 5, known)
	pause()
	s.kill(3)
	pause()
	s.join(ctx, 6, known)
}

// kill ends a relay as a power cut does.
func (s *story) kill(i int) {
	s.relays[i].killed.Store(true)
	s.net.Host(storyRelay(i)).Kill()
	s.relays[i].stop()
}

// join adds a relay; viewers know of it when it serves.
func (s *story) join(ctx context.Context, i int, known *roster) {
	r := s.startRelay(ctx, i)
	for r.ready() != nil {
		time.Sleep(100 * time.Millisecond)
	}
	known.add(storyBase(storyRelay(i)))
}

func latest(all []*storyWatcher) time.Duration {
	var late time.Duration
	for _, w := range all {
		late = max(late, w.latest)
	}
	return late
}

// The same with real processes and sockets.
func TestRandomRelays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 25 s")
	}
	evening := sized(12*time.Second, time.Minute)
	e := newEvening(t)
	known := &roster{}
	children := map[int]*child{}
	for n := 1; n <= 5; n++ {
		children[n] = e.startRelay(t, n)
	}
	for n := 1; n <= 5; n++ {
		e.addReady(t, n, known)
	}
	e.awaitSegments(t, 4)

	watching, stop := context.WithTimeout(t.Context(), evening)
	defer stop()
	var crowd sync.WaitGroup
	all := make([]*storyWatcher, 4)
	for i := range all {
		all[i] = &storyWatcher{
			t: t, name: i, origin: e.url(0), relays: known.all, client: &http.Client{Transport: &http.Transport{}},
			random: rand.New(rand.NewPCG(2012, uint64(i))),
		}
		crowd.Go(func() { all[i].watch(watching) })
	}
	for _, change := range []func(){
		func() { killChild(t, children[2]) },
		func() { e.startRelay(t, 6); e.addReady(t, 6, known) },
		func() { killChild(t, children[4]) },
		func() { e.startRelay(t, 7); e.addReady(t, 7, known) },
	} {
		select {
		case <-time.After(evening / 6):
			change()
		case <-watching.Done():
		}
	}
	crowd.Wait()
	retries := 0
	for _, w := range all {
		w.check(evening, relay.DefaultConstants().PartHoldBack)
		retries += w.retries
	}
	t.Logf("4 viewers asked dead relays %d times; parts were %v old at most", retries, latest(all))
}

func killChild(t *testing.T, c *child) {
	t.Helper()
	if err := c.process.Process.Kill(); err != nil {
		t.Error(err)
	}
}

// addReady lets viewers know of a relay as soon as it says that it serves.
func (e *evening) addReady(t *testing.T, n int, known *roster) {
	t.Helper()
	eventually(t, "a relay is ready", func() error {
		response, err := http.Get(e.url(n) + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", response.Status)
		}
		return nil
	})
	known.add(e.url(n))
}

// proving tells whether the long runs are wanted.
func proving() bool { return os.Getenv("SURGECAST_PROVE") != "" }

// sized is how much of something a story has: little in make test, where all
// stories together have some minutes under the race detector, and what it is
// worth in make prove.
func sized[T any](test, prove T) T {
	if proving() {
		return prove
	}
	return test
}
