package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"surgecast/cluster"
)

func TestDrainOrders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "drain")
	open := func() *drainOrders {
		t.Helper()
		o, err := openDrainOrders(file)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	expect := func(o *drainOrders, stays, leaves bool) {
		t.Helper()
		if o.stays() != stays || o.leaves() != leaves {
			t.Errorf("stays: %v, leaves: %v", o.stays(), o.leaves())
		}
	}
	give := func(o *drainOrders, drain bool) {
		t.Helper()
		if err := o.take(drain); err != nil {
			t.Error(err)
		}
	}
	o := open()
	expect(o, true, false)
	changed := o.Changed()
	give(o, true)
	<-changed
	expect(o, false, true)
	expect(open(), false, false) // the next process waits, and does not end
	give(open(), true)
	give(o, false)
	give(o, false) // twice is no harm
	expect(o, true, false)
	expect(open(), true, false)
	o.seal() // a signal leaves no flag
	expect(o, false, false)
	expect(open(), true, false)
	if err := o.take(false); !errors.Is(err, errEnding) {
		t.Error(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := o.take(true); err == nil || !strings.Contains(err.Error(), "keep drain flag") {
		t.Error("an order that can't be kept:", err)
	}
}

func TestWhichNodeIsMeant(t *testing.T) {
	members := []cluster.Member{
		{Name: "aaaa1111", Self: true, State: cluster.State{Media: "127.0.0.1:8080"}},
		{Name: "aaaa2222", State: cluster.State{Media: "10.0.0.2:8080", Public: "192.0.2.2:8080"}},
		{Name: "bbbb3333", State: cluster.State{Media: "[fd00::3]:8080"}},
		{Name: "cccc4444", State: cluster.State{Media: "10.0.0.4:8080"}},
		{Name: "dddd5555", State: cluster.State{Media: "10.0.0.4:8081"}},
	}
	for target, want := range map[string]string{
		"":               "aaaa1111",
		"aaaa2":          "aaaa2222",
		"BBBB":           "bbbb3333",
		"10.0.0.2":       "aaaa2222",
		"192.0.2.2:8080": "aaaa2222",
		"fd00::3":        "bbbb3333",
		"[fd00::3]:8080": "bbbb3333",
		"10.0.0.4:8081":  "dddd5555",
		"aaaa":           "2 nodes are meant",
		"10.0.0.4":       "2 nodes are meant",
		"bb":             "no node is called",
		"10.0.0.9":       "no node is called",
	} {
		m, err := meant(members, target)
		if got := m.Name; err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v, want %s", target, got, err, want)
		}
	}
}

func TestDrainOrderThatCannotBeRead(t *testing.T) {
	for _, body := range []string{"", "{", `{"target":"x","drian":true}`, `{"target":7}`, strings.Repeat("x", 1<<20)} {
		answer := httptest.NewRecorder()
		(&node{}).serveDrain(answer, httptest.NewRequest(http.MethodPost, "/drain", strings.NewReader(body)))
		var refusal apiRefusal
		if err := json.Unmarshal(answer.Body.Bytes(), &refusal); answer.Code != http.StatusBadRequest || err != nil || refusal.Text == "" {
			t.Errorf("%.20q: %d %s", body, answer.Code, answer.Body)
		}
	}
}

// Real processes: any node takes an order for any other one; the flag outlives
// the process; undrain takes it back at each stage. TestStoryDrainByOrder is the
// same on fake time.
func testDrainByOrder(t *testing.T) {
	e := newQuietEvening(t)
	e.relayDrain(t, "20s") // longer than the slow start of the other one in the answers
	kept, moved := e.startRelay(t, 1), e.startRelay(t, 2)
	eventually(t, "two relays are named", e.named(t, 1, 2))
	flags := apiFlags{Dir: e.dir}
	order := func(target string, drain bool) drainAnswer {
		t.Helper()
		a, err := flags.order(t.Context(), target, drain)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if _, err := flags.order(t.Context(), e.address(0).String(), true); err == nil || err.Error() != errNotDrained.Error() {
		t.Errorf("an origin: %v", err)
	}

	a := order(e.address(2).String(), true)
	if a.Seconds != 20 || a.Others != 1 || !a.Drains {
		t.Errorf("%+v", a)
	}
	eventually(t, "it leaves the answers", e.named(t, 1))
	if a = order(a.Name[:8], false); a.Drains {
		t.Errorf("%+v", a)
	}
	eventually(t, "it is back", e.named(t, 1, 2))

	order(a.Name, true)
	select {
	case <-moved.ended:
	case <-time.After(40 * time.Second):
		t.Fatal("it does not end")
	}
	if moved.err != nil {
		t.Errorf("it ended: %v", moved.err)
	}
	again := e.startRelay(t, 2)
	eventually(t, "it is there, and drained", func() error { return e.stateOf(t, 2, cluster.StatusDraining) })
	if err := e.named(t, 1)(); err != nil {
		t.Error(err)
	}
	order(e.address(2).String(), false)
	eventually(t, "it is in service", e.named(t, 1, 2))
	if again.process.ProcessState != nil || kept.process.ProcessState != nil {
		t.Error("a relay has ended")
	}
}

// Real processes: a drain ends in its time whatever its connections do, and at a
// second signal at once.
func TestDrainHasAnEnd(t *testing.T) {
	e := newQuietEvening(t)
	e.relayDrain(t, "1s")
	text, err := os.ReadFile(filepath.Join(e.dir, "relay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	patient := filepath.Join(e.dir, "patient.yaml")
	writeFile(t, patient, strings.Replace(string(text), "drain: 1s", "drain: 120s", 1), 0o600)
	ordered, signalled := e.startRelay(t, 1), e.startRelayFrom(t, 2, patient)
	for n := 1; n <= 2; n++ {
		eventually(t, "a relay is ready", func() error { return getOK(t.Context(), e.url(n)+"/readyz") })
		e.linger(t, n)
	}

	began := time.Now()
	flags := apiFlags{Dir: e.dir}
	if a, err := flags.order(t.Context(), e.address(1).String(), true); err != nil || a.Seconds != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if err := signalled.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it drains", func() error { return e.stateOf(t, 2, cluster.StatusDraining) })
	again := time.Now()
	if err := signalled.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("it ended at the first signal: %v", err)
	}
	select {
	case <-signalled.ended:
	case <-time.After(time.Second):
		t.Fatal("it lives on after a second signal")
	}
	if took, how := time.Since(again), signalled.how(); !strings.Contains(how, "by a signal") {
		t.Errorf("%v after the second signal it %s", took, how)
	}
	select {
	case <-ordered.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	// The drain, what is said last, and the leaving of the gossip.
	if took := time.Since(began); ordered.err != nil || took < time.Second || took > 6*time.Second {
		t.Errorf("with a drain of 1 s it took %v: %v", took, ordered.err)
	}
}

// linger leaves connections open that would keep a node for ever: one that says
// nothing, one in the middle of a request, and one that waits for the next.
func (e *evening) linger(t *testing.T, n int) {
	t.Helper()
	for _, said := range []string{"", "GET /healthz HTTP/1.1\r\nHo", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"} {
		conn, err := net.Dial("tcp", netip.AddrPortFrom(e.address(n), defaultViewerPort).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
	}
}

// relayDrain sets the relays' drain.
func (e *evening) relayDrain(t *testing.T, drain string) {
	t.Helper()
	name := filepath.Join(e.dir, "relay.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), "drain: 0s", "drain: "+drain, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stateOf tells whether the pool sees the nth relay in a state.
func (e *evening) stateOf(t *testing.T, n int, want cluster.Status) error {
	for _, m := range e.origin.cluster.Members() {
		if m.Address.Addr() == e.address(n) {
			if m.State.Status != want {
				return errors.New(string(m.State.Status))
			}
			return nil
		}
	}
	return errors.New("not there")
}
