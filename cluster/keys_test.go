package cluster

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

func TestRingHoldsThreeDays(t *testing.T) {
	k, err := newKeys(testSecret, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	// One day at a time, then clocks that jump either way.
	for _, days := range []int{0, 1, 2, 3, 5, 12, 11, 0, -400} {
		now := noon.AddDate(0, 0, days)
		if err := k.turn(now); err != nil {
			t.Fatal(err)
		}
		ring := k.ring.GetKeys()
		if len(ring) != 3 {
			t.Fatalf("day %d: %d keys", days, len(ring))
		}
		for i, offset := range []int{0, -1, 1} {
			if !bytes.Equal(ring[i], dayKey(testSecret, now.AddDate(0, 0, offset))) {
				t.Errorf("day %d: key %d is not that of day %+d", days, i, offset)
			}
		}
	}
}

func TestKeysDependOnSecretAndDay(t *testing.T) {
	a := dayKey(testSecret, noon)
	for name, b := range map[string][]byte{
		"other secret": dayKey([]byte("another secret"), noon),
		"other day":    dayKey(testSecret, noon.AddDate(0, 0, 1)),
	} {
		if bytes.Equal(a, b) {
			t.Errorf("%s: the same key", name)
		}
	}
	if !bytes.Equal(a, dayKey(testSecret, noon.In(time.FixedZone("east", 9*3600)))) {
		t.Error("the key depends on the time zone")
	}
}

func TestPoolLivesOverMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24*time.Hour - 90*time.Second) // the bubble begins at a midnight
		p := newPool(t)
		var nodes []*Node
		for i := 1; i <= 3; i++ {
			n, _ := p.start(i)
			nodes = append(nodes, n)
			time.Sleep(20 * time.Second) // so that each turns its ring at another moment
		}
		before := nodes[0].keys.ring.GetPrimaryKey()
		lost := make(chan struct{})
		watched, stop := context.WithCancel(t.Context())
		p.wg.Go(func() {
			for watched.Err() == nil {
				changed := nodes[0].Changed()
				if len(nodes[0].Members()) < 3 {
					close(lost)
					return
				}
				select {
				case <-changed:
				case <-watched.Done():
				}
			}
		})
		time.Sleep(3 * time.Minute)
		stop()
		for _, n := range nodes {
			if got := n.keys.ring.GetPrimaryKey(); bytes.Equal(got, before) || !bytes.Equal(got, dayKey(testSecret, time.Now())) {
				t.Errorf("%s does not use the new day's key", n.advertise)
			}
		}
		late, _ := p.start(4)
		p.await(late, 5*time.Second, count(4))
		select {
		case <-lost:
			t.Error("a member was lost over midnight")
		default:
		}
	})
}
