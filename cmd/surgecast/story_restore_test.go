package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay/hlscheck"
)

// The origin is killed under viewers, and is back half a second later: with its
// disk, with an empty one, and with one that has the journal and no media. The
// list goes on as the relays have it, and so do the viewers.
func TestStoryOfAKilledOrigin(t *testing.T) {
	for name, keep := range map[string]func(dir string) error{
		"at once":    func(string) error { return nil },
		"empty disk": os.RemoveAll,
		"no media":   func(dir string) error { return os.RemoveAll(filepath.Join(dir, "live")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "no media" && !proving() {
				t.Skip("between the other two: make prove runs it")
			}
			synctest.Test(t, func(t *testing.T) { killedOrigin(t, keep) })
		})
	}
}

func killedOrigin(t *testing.T, keep func(dir string) error) {
	s := newStory(t)
	nodes, stopNodes := context.WithCancel(t.Context())
	first, stopFirst := context.WithCancel(nodes)
	separate := func(c *OriginConfig) { c.Streams[0].Audio = AudioMode(origin.AudioSeparate) }
	s.tune = separate
	feed, stopFeed := context.WithCancel(t.Context())
	s.startOrigin(first)
	s.startRelay(nodes, 0)
	s.startRelay(nodes, 1)
	s.startRelayWith(nodes, 2, func(*relayNode) {}, BaseURL(storyBase(storyRelay(0)))) // behind the first
	<-s.origin.restored
	s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
	time.Sleep(8 * time.Second)
	crowd := s.startCrowd(6)
	time.Sleep(5300 * time.Millisecond)

	before := s.origin.store.Stream("theatre").Window("main").Version()
	epoch := s.origin.origin.Epoch()
	s.noDNS.Store(true) // the name server dies too
	dir := s.killOrigin(stopFirst, stopFeed)
	if err := keep(filepath.Join(dir, storyOrigin())); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	time.Sleep(500 * time.Millisecond)

	back := time.Now()
	s.tune = func(c *OriginConfig) { separate(c); c.Dir = dir }
	s.startOrigin(nodes)
	<-s.origin.restored
	restored := time.Since(back)
	again, stopAgain := context.WithCancel(t.Context())
	s.publish(again, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
	time.Sleep(6 * time.Second)
	t.Logf("restored %v after the start, %v after the kill; epoch %v after %v", restored, back.Add(restored).Sub(killed), s.origin.origin.Epoch(), epoch)

	now := s.origin.store.Stream("theatre").Window("main").Version()
	if p, q := before.Playlist, now.Playlist; q.MediaSequence > p.OpenSequence() || q.Epoch() <= epoch {
		t.Errorf("the list begins with segment %d of epoch %v, after %d of %v", q.MediaSequence, q.Epoch(), p.OpenSequence(), epoch)
	}
	for _, problem := range hlscheck.Check("", string(now.Text)) {
		t.Error(problem)
	}
	s.checkEqual()
	if sound := s.origin.store.Stream("theatre").Window("audio-0").Version(); sound == nil ||
		now.Playlist.OpenSequence()-sound.Playlist.OpenSequence() > 1 || len(sound.Playlist.Segments) < 15 {
		t.Error("the sound does not go on with the picture")
	}
	ended := time.Now()
	crowd.stop()
	crowd.wait.Wait()
	// What the encoder did not send while nobody was there is missing; as much
	// time as that, and no more.
	sum := checkStayers(t, crowd.all, ended.Add(-500*time.Millisecond-restored-time.Second))
	if sum.backs > 0 || sum.reopened > 0 || sum.gap > 500*time.Millisecond+restored+2*time.Second {
		t.Errorf("%d steps back, %d began anew, %v between two parts", sum.backs, sum.reopened, sum.gap)
	}
	stopAgain()
	stopNodes()
	s.end()
}

// Nobody who asks a node that is starting is told that there is no such stream:
// neither by a relay that joins nor by an origin that restores what it had.
func TestStoryOfStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.bare = true // the lanes answer
		nodes, stopNodes := context.WithCancel(t.Context())
		first, stopFirst := context.WithCancel(nodes)
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(first)
		s.startRelay(nodes, 0)
		<-s.origin.restored
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
		time.Sleep(8 * time.Second)
		s.startRelay(nodes, 1)
		s.checkStart(storyRelay(1))
		dir := s.killOrigin(stopFirst, stopFeed)
		time.Sleep(500 * time.Millisecond)
		s.tune = func(c *OriginConfig) { c.Dir = dir }
		s.startOrigin(nodes)
		s.checkStart(storyOrigin())
		stopNodes()
		s.end()
	})
}

// checkStart asks a node that was just started, until it has the list.
func (s *story) checkStart(host string) {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: s.net.Host(storyViewer(0)).DialContext}}
	defer client.CloseIdleConnections()
	began := time.Now()
	answers := map[int]int{}
	for answers[http.StatusOK] == 0 && time.Since(began) < 20*time.Second {
		time.Sleep(5 * time.Millisecond)
		response, err := client.Get(storyBase(host) + "/theatre/main/live.m3u8?_HLS_skip=YES")
		if err != nil {
			continue // it does not listen yet
		}
		_ = response.Body.Close()
		answers[response.StatusCode]++
		if response.StatusCode != http.StatusOK && response.Header.Get("Retry-After") == "" {
			s.t.Errorf("%s answers %s, without Retry-After", host, response.Status)
		}
	}
	s.t.Logf("%s answers, by status: %v", host, answers)
	if answers[http.StatusOK] != 1 || answers[http.StatusServiceUnavailable] == 0 || len(answers) != 2 {
		s.t.Errorf("%s answers, by status: %v", host, answers)
	}
}

// killOrigin ends the origin and its encoder as kill -9 does, and returns a
// folder with the state of that moment.
func (s *story) killOrigin(stop ...context.CancelFunc) string {
	dir := s.t.TempDir()
	synctest.Wait() // for the journals, which are written behind the media path
	if err := os.CopyFS(filepath.Join(dir, storyOrigin()), os.DirFS(filepath.Join(s.dir, storyOrigin()))); err != nil {
		s.t.Fatal(err)
	}
	s.originKilled.Store(true)
	s.net.Host(storyOrigin()).Kill()
	for _, end := range stop {
		end()
	}
	return dir
}
