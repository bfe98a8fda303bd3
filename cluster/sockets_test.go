package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// freePort returns a port that is free for UDP and TCP on the addresses of a
// pool on the loopback interface.
func freePort(t *testing.T, hosts ...string) string {
	t.Helper()
search:
	for range 50 {
		port := fmt.Sprint(20000 + rand.IntN(10000))
		for _, host := range hosts {
			packets, streams, err := listenBoth(net.JoinHostPort(host, port))
			if err != nil {
				continue search
			}
			packets.Close()
			streams.Close()
		}
		return port
	}
	t.Fatal("no free port")
	return ""
}

func TestPoolOverRealSockets(t *testing.T) {
	others := goleak.IgnoreCurrent()
	hosts := []string{"127.0.0.31", "127.0.0.32"}
	port := freePort(t, hosts...)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var nodes []*Node
	for _, host := range hosts {
		cfg := config(1)
		cfg.Bind = net.JoinHostPort(host, port)
		cfg.Seeds = []string{net.JoinHostPort(hosts[0], port)}
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
		wg.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	deadline := time.After(10 * time.Second)
	for _, n := range nodes {
		for changed := n.Changed(); len(n.Members()) < 2; {
			select {
			case <-changed:
				changed = n.Changed()
			case <-deadline:
				t.Fatal("the nodes did not meet")
			}
		}
	}
	third, err := New(Config{Bind: nodes[0].cfg.Bind, Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Run(ctx); err == nil || !strings.Contains(err.Error(), "start gossip on "+third.cfg.Bind) {
		t.Errorf("a port in use: %v", err)
	}
	stop()
	wg.Wait()
	// A probe of memberlist that was under way ends by itself; should this be the last
	// test, it is no leak.
	var left error
	for range 10 { // each looks for some time
		if left = goleak.Find(others); left == nil {
			return
		}
	}
	t.Error(left)
}
