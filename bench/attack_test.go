package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// victim is a server that knows nothing but one path.
func victim(t *testing.T, kind attackKind) target {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/a" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "a", time.Time{}, bytes.NewReader(make([]byte, 1<<20)))
	}))
	server.Config.MaxHeaderBytes = 16 << 10
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if kind.name == "slowloris" {
		server.Config.ReadHeaderTimeout = 100 * time.Millisecond
	}
	server.EnableHTTP2 = true
	if kind.over == plain {
		server.Start()
	} else {
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	to := target{kind.over != plain, netip.MustParseAddrPort(server.Listener.Addr().String()), "/a"}
	if kind.name == "lengths" {
		to.path = "/b" // net/http is less strict with what it knows
	}
	return to
}

// Each attack does what it says, and ends when it is told.
func TestAttacks(t *testing.T) {
	for _, kind := range attackKinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.conns = min(kind.conns, 5)
			conns := int64(kind.conns)
			done := func(r attacked) bool { return r.Opened >= conns && r.Sent >= 2*conns }
			switch kind.name {
			case "lengths":
				done = func(r attacked) bool { return r.Ended >= 3*conns }
			case "slowloris":
				done = func(r attacked) bool { return r.Sent == conns && r.Ended == conns }
			case "slow-readers":
				done = func(r attacked) bool { return r.Sent == conns }
			case "idle":
				done = func(r attacked) bool { return r.Answers[http.StatusOK] == conns }
			}
			a := newAttack(kind, victim(t, kind))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var attacking sync.WaitGroup
			attacking.Go(func() { a.all(ctx, time.Minute) })
			for !done(a.result(time.Second)) && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if ctx.Err() != nil {
				t.Error("that was not all")
			}
			cancel()
			attacking.Wait()
			r := a.result(time.Second)
			if r.Failed > 0 || kind.answers != nil && len(r.Answers) == 0 || r.wrong(kind.answers) > 0 {
				t.Errorf("%v, and it may get %v", r, kind.answers)
			}
			if !kind.again && r.Opened != conns {
				t.Errorf("%v with %d connections", r, conns)
			}
		})
	}
}

func TestAttackIsForThisMachine(t *testing.T) {
	for _, arguments := range [][]string{
		{"-kind", "idle", "-url", "http://192.0.2.1:8080/a"},
		{"-kind", "idle", "-url", "http://live.example/a"},
		{"-kind", "war", "-url", "http://127.0.0.1:8080/a"},
	} {
		if attackCommand(t.Context(), arguments) == nil {
			t.Errorf("%v is taken", arguments)
		}
	}
}

func TestAttackFigures(t *testing.T) {
	list := siege{kind: attackKind{title: "one", name: "one", over: h2, answers: refused}, cores: 0.5, grown: 300 << 20}
	list.viewers.Receipt.P99, list.viewers.Viewers = 239, 200
	list.attack = attacked{Opened: 7, Ended: 6, GoAways: 5, Failed: 1, Sent: 9, Answers: map[int]int64{404: 3, 200: 2, 400: 1}}
	late := siege{kind: attackKind{title: "two", name: "two"}, cores: 1}
	late.viewers.Receipt.P99, late.viewers.Stalls = 241, 4
	quiet := siege{cores: 0.1}
	quiet.viewers.Receipt.P99 = 220
	b := &besieged{before: quiet, after: quiet, sieges: []siege{list, late}}
	want := []string{"one: met", "two: missed", "after all: met", "stalls: missed", "cores: met", "memory: missed", "answers: missed", "relays: missed"}
	got := b.figures(errors.New("gone"))
	if len(got) != len(want) {
		t.Fatalf("%d figures", len(got))
	}
	for i, f := range got {
		name, verdict, _ := strings.Cut(want[i], ": ")
		if !strings.Contains(f.name, name) || f.verdict() != verdict {
			t.Errorf("got %v, want %s", f, want[i])
		}
	}
	const note = "7 connections, 6 ended by the relay (5 GOAWAY), 1 not opened, 9 sent, 2 × 200, 1 × 400, 3 × 404"
	if !strings.HasSuffix(got[0].note, note) {
		t.Errorf("got %s", got[0].note)
	}
}
