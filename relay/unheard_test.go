package relay

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// One server after the other takes over a socket, as processes do that inherit
// it, under a crowd that connects anew for each request: nobody loses one. They
// say "Connection: close", so all go through net/http.
func TestHandedOverSocketLosesNobody(t *testing.T) {
	for name, byLane := range map[string]bool{"lane": true, "net/http": false} {
		t.Run(name, func(t *testing.T) {
			h, _ := edge(t, nil)
			if !byLane {
				h = wrapped(h)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			var crowd sync.WaitGroup
			var stop atomic.Bool
			var asked atomic.Int64
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
			for range 8 {
				crowd.Go(func() {
					for !stop.Load() {
						response, err := client.Get("http://" + listener.Addr().String() + leaveList)
						if err != nil {
							t.Error(err)
							return
						}
						response.Body.Close()
						asked.Add(1)
					}
				})
			}
			const servers = 10
			for i := range servers {
				ctx, end := context.WithCancel(t.Context())
				before := asked.Load()
				go func() {
					defer end()
					for asked.Load() < before+20 && !t.Failed() {
						time.Sleep(time.Millisecond)
					}
					if i == servers-1 { // nobody takes over from the last
						stop.Store(true)
						crowd.Wait()
					}
				}()
				_ = Serve(ctx, duplicate(t, listener), NewHTTPServer(h, discard()))
				<-ctx.Done()
			}
			stop.Store(true)
			crowd.Wait()
			t.Logf("%d requests", asked.Load())
		})
	}
}

// duplicate is another descriptor of a listening socket.
func duplicate(t *testing.T, listener net.Listener) net.Listener {
	t.Helper()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() // FileListener has its own
	again, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	return again
}
