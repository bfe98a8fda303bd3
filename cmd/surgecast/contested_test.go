package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"io"
	"log"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

// rival joins the gossip at an address, under a name, by way of a node.
func (s *story) rival(address, name, by string) *memberlist.Memberlist {
	s.t.Helper()
	day := time.Now().UTC().Format(time.DateOnly)
	key, err := hkdf.Key(sha256.New, s.secret, nil, "surgecast gossip "+day, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	config := memberlist.DefaultLANConfig()
	config.Name, config.AdvertiseAddr, config.AdvertisePort = name, address, 7946
	config.Label, config.SecretKey = "surgecast", key
	config.Transport = s.net.Host(address).Transport(7946)
	config.Logger = log.New(io.Discard, "", 0)
	list, err := memberlist.Create(config)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := list.Join([]string{by + ":7946"}); err != nil {
		s.t.Error(err)
	}
	return list
}

// A relay whose name turns out to be another's changes it under its viewers,
// who notice nothing, and is never out of what the origin answers.
func TestStoryOfAContestedName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		nodes, stop := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range 3 {
			s.startRelay(nodes, i)
		}
		began := time.Now()
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(5 * time.Second)

		watching, stopViewers := context.WithCancel(t.Context())
		var crowd sync.WaitGroup
		viewers := make([]*storyWatcher, 6)
		for i := range viewers {
			viewers[i] = newStoryWatcher(s, i, func() []string { return storyRelays(3) })
			crowd.Go(func() { viewers[i].watch(watching) })
		}
		crowd.Go(func() {
			for ; watching.Err() == nil; time.Sleep(10 * time.Millisecond) {
				for i := range 3 {
					serving := cluster.Serving(s.origin.cluster.Members())
					if !slices.ContainsFunc(serving, func(m cluster.Member) bool { return m.Address.Addr().String() == storyRelay(i) }) {
						t.Errorf("relay %d is out of the origin's answers", i)
						return
					}
				}
			}
		})
		time.Sleep(3 * time.Second)
		r := s.relays[1]
		name := r.cluster.Name()
		contested := time.Now()
		list := s.rival("10.0.0.200", name, storyRelay(1))
		for r.cluster.Name() == name && time.Since(contested) < 5*time.Second {
			time.Sleep(time.Millisecond)
		}
		took := time.Since(contested)
		t.Logf("it has another name %v after the other came", took)
		if took > 2*time.Second {
			t.Error("it has kept the name for more than 2 s")
		}
		time.Sleep(20 * time.Second)
		if own := r.ownStatus(); own.Name != r.cluster.Name() || own.Name == name || own.State != string(cluster.StatusServing) {
			t.Errorf("it says of itself %+v", own)
		}
		if got := len(s.origin.cluster.Members()); got != 4 { // the rival says nothing that can be read
			t.Errorf("the origin sees %d members", got)
		}
		stopViewers()
		crowd.Wait()
		for _, w := range viewers {
			w.check(time.Since(began)-5*time.Second-time.Second, storyLate)
			if w.retries > 0 {
				t.Errorf("viewer %d was not answered %d times", w.name, w.retries)
			}
		}
		if err := list.Shutdown(); err != nil {
			t.Error(err)
		}
		stopFeed()
		stop()
		s.end()
	})
}
