package simnet

import (
	"fmt"
	"io"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// gossip starts memberlist on a host of its own.
func gossip(t *testing.T, n *Network, i int) *memberlist.Memberlist {
	t.Helper()
	cfg := memberlist.DefaultLANConfig()
	cfg.Name = fmt.Sprintf("node-%d", i)
	cfg.Transport = n.Host(fmt.Sprintf("10.0.0.%d", i)).Transport(7946)
	cfg.Logger = log.New(io.Discard, "", 0)
	list, err := memberlist.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestNineMembersForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Seed: 1, Delay: 2 * time.Millisecond})
		n.SetDrop(0.02)
		var lists []*memberlist.Memberlist
		for i := 1; i <= 9; i++ {
			list := gossip(t, n, i)
			if _, err := list.Join([]string{"10.0.0.1:7946"}); err != nil {
				t.Fatal(err)
			}
			lists = append(lists, list)
		}
		time.Sleep(time.Minute)
		for i, list := range lists {
			if got := list.NumMembers(); got != 9 {
				t.Errorf("node %d sees %d members", i+1, got)
			}
		}
		for i := 2; i <= 9; i++ {
			n.Cut("10.0.0.1", fmt.Sprintf("10.0.0.%d", i))
		}
		time.Sleep(30 * time.Second)
		if got := lists[4].NumMembers(); got != 8 {
			t.Errorf("%d members after one was cut off", got)
		}
		for i := 2; i <= 9; i++ {
			n.Heal("10.0.0.1", fmt.Sprintf("10.0.0.%d", i))
		}
		if _, err := lists[0].Join([]string{"10.0.0.5:7946"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // a full exchange mends what lost packets left out
		for i, list := range lists {
			if got := list.NumMembers(); got != 9 {
				t.Errorf("node %d sees %d members after the link was healed", i+1, got)
			}
			list.Shutdown()
		}
		time.Sleep(10 * time.Second) // probes that were under way end by themselves
	})
}

func TestTransportPortInUse(t *testing.T) {
	h := New(Config{}).Host("10.0.0.1")
	first, second := h.Transport(7946), h.Transport(7946)
	if _, _, err := first.FinalAdvertiseAddr("", 0); err != nil {
		t.Error(err)
	}
	if _, _, err := second.FinalAdvertiseAddr("", 0); err == nil {
		t.Error("two transports on one port")
	}
	second.Shutdown()
	first.Shutdown()
	if _, _, err := h.Transport(7946).FinalAdvertiseAddr("", 0); err != nil {
		t.Errorf("the port is not free after Shutdown: %v", err)
	}
}
