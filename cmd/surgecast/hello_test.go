package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

func TestHelloIsForThePoolAlone(t *testing.T) {
	key, other := newHelloKey([]byte("a secret of the pool")), newHelloKey([]byte("another secret"))
	ask := func(authorization string) bool {
		r := httptest.NewRequest(http.MethodGet, helloPath, nil)
		r.Header.Set("Authorization", authorization)
		_, ok := key.nonceOf(r)
		return ok
	}
	const nonce = "00112233445566778899aabbccddeeff"
	for authorization, want := range map[string]bool{
		"": false,
		"Hello " + nonce + " " + key.mac("ask", nonce):             true,
		"Hello " + nonce + " " + other.mac("ask", nonce):           false,
		"Hello " + nonce + " " + key.mac("answer", nonce):          false,
		"Hello " + nonce[:30] + " " + key.mac("ask", nonce[:30]):   false,
		"Bearer " + nonce + " " + key.mac("ask", nonce):            false,
		"Hello " + nonce + " " + key.mac("ask", nonce) + " beside": false,
	} {
		if got := ask(authorization); got != want {
			t.Errorf("%q: got %v", authorization, got)
		}
	}
	body := []byte(`{"name":"n","unix_ms":1767225600000}`)
	if answer, err := key.read(body, key.mac("answer", nonce+"\n"+string(body)), nonce); err != nil || answer.Name != "n" {
		t.Errorf("a good answer: %+v, %v", answer, err)
	}
	if _, err := key.read(body, key.mac("answer", "another"+"\n"+string(body)), nonce); !errors.Is(err, errHelloMAC) {
		t.Errorf("an answer to another question: %v", err)
	}
}

func FuzzHello(f *testing.F) {
	key := newHelloKey([]byte("a secret of the pool"))
	f.Add([]byte(`{"name":"n","role":"relay","isolated":true,"unix_ms":1767225600000,"address":"192.0.2.1"}`), "00112233445566778899aabbccddeeff")
	f.Fuzz(func(t *testing.T, body []byte, nonce string) {
		if _, err := key.read(body, nonce, nonce); !errors.Is(err, errHelloMAC) {
			t.Errorf("took an answer that nobody signed: %v", err)
		}
		_, _ = key.read(body, key.mac("answer", nonce+"\n"+string(body)), nonce)
	})
}

func TestTheAloneGoByOneClock(t *testing.T) {
	const relay, origin = cluster.RoleRelay, cluster.RoleOrigin
	a, b := hello{Name: "a", Role: relay, Isolated: true}, hello{Name: "b", Role: relay, Isolated: true}
	if !a.leads(relay, "b") || b.leads(relay, "a") {
		t.Error("of two relays that are alone not just one goes by the other")
	}
	o := hello{Name: "o", Role: origin, Isolated: true}
	if !o.leads(relay, "a") || a.leads(origin, "o") {
		t.Error("a relay does not go by its origin's clock")
	}
	if joined := (hello{Name: "z", Role: relay}); !joined.leads(origin, "o") {
		t.Error("who is alone does not go by the pool's clock")
	}
}

func TestClockIsCarriedOnWithoutTheMachinesDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := 36 * time.Hour
		c := newClock(func() time.Time { return time.Now().Add(wrong) })
		if !c.set(wrong, true) || c.set(wrong, true) {
			t.Error("set does not tell what changed")
		}
		time.Sleep(time.Hour)
		wrong = -time.Minute // somebody sets it, and almost rightly
		if got := c.Now(); !got.Equal(time.Now()) {
			t.Errorf("the pool's time is %v off", time.Until(got))
		}
		if !c.set(wrong, false) || !c.Now().Equal(time.Now().Add(wrong)) {
			t.Error("a clock that was set right is not gone by")
		}
	})
}

// An image with the day before yesterday, or with the day after tomorrow,
// FAULTS row 6: it joins and serves, and says that its clock is wrong.
func TestStoryOfAWrongClock(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"36 h ahead": 36 * time.Hour, "36 h behind": -36 * time.Hour, "20 h ahead": 20 * time.Hour, "a year behind": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStory(t)
				nodes, stop := context.WithCancel(t.Context())
				feed, stopFeed := context.WithCancel(t.Context())
				s.startOrigin(nodes)
				s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
				s.startRelay(nodes, 0)
				time.Sleep(5 * time.Second)
				began := time.Now()
				s.machine = func(o *nodeOptions) { o.Env.Clock = func() time.Time { return time.Now().Add(off) } }
				r := s.startRelay(nodes, 1)
				for r.ready() != nil && time.Since(began) < 10*time.Second {
					time.Sleep(10 * time.Millisecond)
				}
				took := time.Since(began)
				t.Logf("serving %v after its start", took)
				if took > 3*time.Second {
					t.Errorf("not serving within 3 s: %v", r.ready())
				}
				time.Sleep(sized(15*time.Second, time.Minute))
				for i, one := range s.relays {
					if got := len(one.cluster.Members()); got != 3 {
						t.Errorf("relay %d sees %d members", i, got)
					}
				}
				if got := r.clock.Offset(); (got - off).Abs() > 10*time.Millisecond {
					t.Errorf("it takes its clock for %v off", got)
				}
				stopFeed()
				stop()
				s.end()
			})
		})
	}
}
