package cluster

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// A stranger's packets and streams, with and without the pool's label, change
// nothing.
func TestGossipGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(3)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(3))
		}
		stranger := p.net.Host("10.0.0.66").Transport(7946).(memberlist.NodeAwareTransport)
		if _, _, err := stranger.FinalAdvertiseAddr("", 0); err != nil {
			t.Fatal(err)
		}
		const target = "10.0.0.1:7946"
		for _, b := range garbage(rand.New(rand.NewPCG(4, 2))) {
			if _, err := stranger.WriteTo(b, target); err != nil {
				t.Fatal(err)
			}
			c, err := stranger.DialTimeout(target, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(5 * time.Second))
			c.Write(b)
			time.AfterFunc(5*time.Second, func() { c.Close() })
		}
		time.Sleep(30 * time.Second)
		for _, n := range nodes {
			if got := len(n.Members()); got != 3 {
				t.Errorf("%s sees %d members", n.advertise, got)
			}
		}
		late, _ := p.start(4)
		p.await(late, 5*time.Second, count(4))
		stranger.Shutdown()
	})
}

// garbage returns messages that break off, lie about their length, or carry
// each of memberlist's types in the clear.
func garbage(rng *rand.Rand) [][]byte {
	label := append([]byte{244, 4}, "test"...) // as memberlist marks the pool's messages
	all := [][]byte{
		{},
		{244},
		{244, 0},
		{244, 255, 'x'},
		label,
		append(label[:2:2], "tes"...),
		bytes.Repeat([]byte{0xff}, 70_000),
		// An encrypted stream that says it has 4 GiB.
		binary.BigEndian.AppendUint32(append(label[:6:6], 10), 0xffffffff),
	}
	for kind := range 16 {
		body := make([]byte, rng.IntN(300))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		open := append([]byte{byte(kind)}, body...)
		all = append(all, open, append(label[:6:6], open...))
	}
	return all
}
