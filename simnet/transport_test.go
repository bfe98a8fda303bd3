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

// A port that is shut is gossip's end, packets and streams, and no other port's.
func TestShutPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Delay: 2 * time.Millisecond})
		first, second := gossip(t, n, 1), gossip(t, n, 2)
		if _, err := second.Join([]string{"10.0.0.1:7946"}); err != nil {
			t.Fatal(err)
		}
		l, err := n.Host("10.0.0.1").Listen(":80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n.Shut(7946)
		time.Sleep(30 * time.Second)
		if a, b := first.NumMembers(), second.NumMembers(); a != 1 || b != 1 {
			t.Errorf("%d and %d members", a, b)
		}
		conn, err := n.Host("10.0.0.2").DialContext(t.Context(), "tcp", "10.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		n.Open(7946)
		if _, err := second.Join([]string{"10.0.0.1:7946"}); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second) // for each to hear that it is taken for dead, and to deny it
		if a, b := first.NumMembers(), second.NumMembers(); a != 2 || b != 2 {
			t.Errorf("%d and %d members", a, b)
		}
		_, _ = first.Shutdown(), second.Shutdown()
		time.Sleep(30 * time.Second) // memberlist's last timers
	})
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
