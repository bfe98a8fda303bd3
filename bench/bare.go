package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// bareHost is where the bare loop listens.
const bareHost = "127.0.0.6"

// bareTick is how often the bare loop answers those who wait: as often as the
// relay has a segment.
const bareTick = time.Second

// bare is the least that a Go server can do for those who wait: a goroutine a
// connection that reads, and one that writes the same bytes to all. It knows no
// more of HTTP than where a request ends. It tells what a woken viewer costs
// anybody on this machine.
type bare struct {
	answer []byte

	mu   sync.Mutex
	held []net.Conn
}

// bareCommand is "bench bare": it prints a line when it listens, and answers
// with the list that it got at first, until ctx ends.
func bareCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("bare", flag.ContinueOnError)
	listen := flags.String("listen", bareHost+":"+viewerPort, "ip:port")
	address := flags.String("url", "", "the media playlist that is answered")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	body, err := fetchPacked(ctx, *address)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	b := &bare{answer: fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n"+
		"Content-Encoding: gzip\r\nEtag: \"bare\"\r\nContent-Length: %d\r\n\r\n%s", len(body), body)}
	if err := say(heldEvent{Event: "listening"}); err != nil {
		return err
	}
	return b.run(ctx, listener)
}

// fetchPacked gets a list as players do, packed.
func fetchPacked(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Encoding") != "gzip" {
		return nil, fmt.Errorf("GET %s: %s, not packed", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// run serves until ctx ends.
func (b *bare) run(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	var conns sync.WaitGroup
	conns.Go(func() { b.wake(ctx) })
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			conns.Wait()
			return nil
		}
		if err != nil {
			return err
		}
		conns.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			b.serve(conn)
		})
	}
}

// serve answers what has no directives at once, and holds the rest.
func (b *bare) serve(conn net.Conn) {
	defer conn.Close()
	var buffer [512]byte // the load's requests are shorter
	for {
		n, err := conn.Read(buffer[:])
		if err != nil || !bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")) {
			return
		}
		if bytes.Contains(buffer[:n], []byte("_HLS_msn=")) {
			b.mu.Lock()
			b.held = append(b.held, conn)
			b.mu.Unlock()
		} else if _, err := conn.Write(b.answer); err != nil {
			return
		}
	}
}

// wake answers all who wait, at each tick.
func (b *bare) wake(ctx context.Context) {
	ticker := time.NewTicker(bareTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		b.mu.Lock()
		held := b.held
		b.held = nil
		b.mu.Unlock()
		for _, conn := range held {
			_, _ = conn.Write(b.answer) // who is gone is seen by its reader
		}
	}
}

// holdBare measures the bare loop as the relay is measured.
func (p *pool) holdBare(ctx context.Context) (sample, error) {
	server, err := startChild(ctx, serverCore, "bare", "-url", relayURL+heldList)
	if err != nil {
		return nil, err
	}
	defer server.kill()
	var event heldEvent
	if err := server.next(&event); err != nil {
		return nil, err
	}
	pid := server.command.Process.Pid
	h := &holding{look: func(context.Context) (state relayState, err error) {
		state.cpu, state.at, err = cpuNow(pid)
		return state, err
	}}
	err = h.run(ctx, "http://"+bareHost+":"+viewerPort+heldList)
	return h.cost, err
}
