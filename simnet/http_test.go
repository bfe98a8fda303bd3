package simnet

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHTTPServerAndClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Delay: 5 * time.Millisecond})
		body := bytes.Repeat([]byte("part"), 200_000)
		left := make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("GET /part", func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
		mux.HandleFunc("GET /blocked", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(left)
		})
		server := &http.Server{Handler: mux}
		l, err := n.Host("10.0.0.1").Listen(":8080")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { server.Serve(l) })
		transport := &http.Transport{DialContext: n.Host("10.0.0.2").DialContext}
		client := &http.Client{Transport: transport}

		for range 3 {
			resp, err := client.Get("http://10.0.0.1:8080/part")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
		}
		start := time.Now()
		impatient := &http.Client{Transport: transport, Timeout: time.Second}
		if _, err := impatient.Get("http://10.0.0.1:8080/blocked"); err == nil {
			t.Error("a request that is never answered ended well")
		}
		<-left
		if took := time.Since(start); took != 1005*time.Millisecond {
			t.Errorf("the server saw the viewer leave after %v", took)
		}
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}
