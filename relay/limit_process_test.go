package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The limit of file descriptors is a process's, so these tests serve in one of
// its own.
const childLimit = "SURGECAST_TEST_DESCRIPTORS" // the limit, and the one that the gate believes in

// TestLimitedChild is that process. It ends when its standard input does.
func TestLimitedChild(t *testing.T) {
	var limit uint64
	var believed int
	var patience time.Duration
	if _, err := fmt.Sscan(os.Getenv(childLimit), &limit, &believed, &patience); err != nil {
		t.Skip("runs as a child")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler, _ := edge(t, nil)
	gate := NewGate(GateConfig{Descriptors: believed, Elsewhere: func() string { return "http://127.0.0.9:8080" }})
	gate.patience = patience
	fmt.Printf("listens on %s\n", listener.Addr())
	done := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(done)
		_ = Serve(ctx, gate.Guard(listener, false), NewHTTPServer(handler, discard()))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // whoever is connected
}

// limited is the child, seen from outside.
type limited struct {
	t       *testing.T
	process *exec.Cmd
	address string
	next    int // of the viewer's addresses
}

func startLimited(t *testing.T, limit, believed int, patience time.Duration) *limited {
	t.Helper()
	c := &limited{t: t, process: exec.Command(os.Args[0], "-test.run=^TestLimitedChild$", "-test.v")}
	c.process.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d", childLimit, limit, believed, patience))
	c.process.Stderr = os.Stderr
	leash, err := c.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leash.Close(); _ = c.process.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, address, ok := strings.Cut(lines.Text(), "listens on "); ok {
			c.address = address
			return c
		}
	}
	t.Fatal("the child did not start")
	return nil
}

// visit is a viewer's connection and how its first request ended: a status, or
// 0 for a connection that was closed without an answer.
type visit struct {
	conn   net.Conn
	status int
}

// never is how long a viewer waits for an answer before it counts as hanging.
const never = 5 * time.Second

// visit connects and asks for a list. The connection stays, as a player's does.
func (c *limited) visit() visit {
	c.t.Helper()
	c.next++ // a few thousand from each address: ports are scarce
	source := &net.TCPAddr{IP: net.IPv4(127, 1, byte(c.next/5000), 1)}
	conn, err := (&net.Dialer{LocalAddr: source, Timeout: never}).Dial("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	v := visit{conn: conn}
	v.ask(c.t)
	return v
}

func (v *visit) ask(t *testing.T) {
	t.Helper()
	v.status = 0
	_ = v.conn.SetDeadline(time.Now().Add(never))
	if _, err := io.WriteString(v.conn, "GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: live\r\n\r\n"); err != nil {
		return
	}
	began := time.Now()
	response, err := http.ReadResponse(bufio.NewReader(v.conn), nil)
	if time.Since(began) >= never {
		t.Fatal("no answer: a viewer hangs")
	}
	if err != nil {
		return
	}
	v.status = response.StatusCode
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	response.Body.Close()
}

// visits makes many, and counts them by how they ended.
func (c *limited) visits(n int) (all []visit, byStatus map[int]int) {
	byStatus = map[int]int{}
	for range n {
		v := c.visit()
		all = append(all, v)
		byStatus[v.status]++
	}
	c.t.Cleanup(func() {
		for _, v := range all {
			v.conn.Close()
		}
	})
	return all, byStatus
}

// cpu is what the child has used so far.
func (c *limited) cpu() time.Duration {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.process.Process.Pid))
	if err != nil {
		c.t.Skip("no /proc")
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the child's memory in bytes.
func (c *limited) resident() int64 {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.process.Process.Pid))
	if err != nil {
		c.t.Skip("no /proc")
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// TestAtTheCap: `ulimit -n 1000`, and more viewers than that has seats for.
func TestAtTheCap(t *testing.T) {
	c := startLimited(t, 1000, 0, time.Minute) // nobody is idle for so long
	all, got := c.visits(1100)
	if got[200] != 744-46 || got[503] != 1100-got[200] {
		t.Errorf("answers: %v", got)
	}
	for _, v := range all[:200] {
		v.conn.Close()
	}
	for _, v := range all[200:600] {
		v.ask(t)
		if v.status != 200 {
			t.Fatalf("who watches got %d", v.status)
		}
	}
	if _, got := c.visits(100); got[200] != 100 {
		t.Errorf("when seats are free again: %v", got)
	}
}

// TestNoDescriptorLeft: the gate has more seats than the process has
// descriptors, as when something else took them.
func TestNoDescriptorLeft(t *testing.T) {
	c := startLimited(t, 300, 1<<20, time.Second)
	all, got := c.visits(400)
	// One whose request takes longer than the haste that is left may be reset: on a
	// machine so busy that it does not run for 32 ms.
	if got[200] < 250 || got[0] > 1 || got[503] != 400-got[200]-got[0] {
		t.Errorf("answers: %v", got)
	}
	before := c.cpu()
	time.Sleep(500 * time.Millisecond) // CPU time is what is measured
	if used := c.cpu() - before; used > 100*time.Millisecond {
		t.Errorf("with no descriptor left and nobody new, %v of CPU in 0.5 s", used)
	}
	for _, v := range all[:100] {
		v.conn.Close()
	}
	for _, v := range all[100:200] {
		if v.ask(t); v.status != 200 {
			t.Fatalf("who watches got %d", v.status)
		}
	}
	if _, got := c.visits(50); got[200] != 50 {
		t.Errorf("when descriptors are free again: %v", got)
	}
}

// TestManyIdle: thousands of keep-alive connections that nobody uses any more
// make room for those who come, the oldest first.
func TestManyIdle(t *testing.T) {
	limit, idle, coming := sized(2_000, 20_000), sized(1_500, 15_000), sized(350, 3_500)
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil || own.Cur < uint64(limit) {
		t.Skipf("needs %d file descriptors", limit)
	}
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	c := startLimited(t, limit, 0, time.Second)
	began := time.Now()
	all, got := c.visits(idle)
	if got[200] != idle {
		t.Fatalf("answers: %v", got)
	}
	took, memory := time.Since(began), c.resident()
	time.Sleep(1500 * time.Millisecond) // they are idle for longer than the gate's patience here
	watching := all[len(all)-100:]
	for _, v := range watching {
		v.ask(t)
	}
	began = time.Now()
	if _, got = c.visits(coming); got[200] != coming {
		t.Errorf("answers to those who come: %v", got)
	}
	t.Logf("%d connections in %v, %d MB resident; %d more in %v", idle, took, memory>>20, coming, time.Since(began))
	for _, v := range watching {
		if v.ask(t); v.status != 200 {
			t.Fatalf("who watches got %d", v.status)
		}
	}
	oldest := all[0]
	if oldest.ask(t); oldest.status != 0 {
		t.Error("the longest idle connection is still there")
	}
}

// TestSlowloris: a thousand connections and more with half a header each, while a
// viewer watches. They are gone after five seconds.
func TestSlowloris(t *testing.T) {
	many := sized(1000, 5000)
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil || own.Cur < uint64(2*many) {
		t.Skipf("needs %d file descriptors", 2*many)
	}
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	c := startLimited(t, 2*many, 0, time.Second)
	viewer := c.visit()
	defer viewer.conn.Close()
	watch := func(times int) time.Duration {
		var took []time.Duration
		for range times {
			began := time.Now()
			if viewer.ask(t); viewer.status != 200 {
				t.Fatalf("the viewer got %d", viewer.status)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	alone := watch(500)
	var half []net.Conn
	began := time.Now()
	for i := range many {
		source := &net.TCPAddr{IP: net.IPv4(127, 2, 0, 1)}
		conn, err := (&net.Dialer{LocalAddr: source, Timeout: never}).Dial("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: l"); err != nil {
			t.Fatal(err)
		}
		if half = append(half, conn); i%10 == 0 {
			watch(1)
		}
	}
	beside := watch(500)
	for _, conn := range half {
		_ = conn.SetReadDeadline(time.Now().Add(2 * headerBound))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("half a header is waited for longer than its bound")
		}
	}
	t.Logf("%d half headers closed %v after the first; the viewer's p99 %v, alone %v", many, time.Since(began), beside, alone)
	if beside > tolerable {
		t.Errorf("the viewer waits for %v", beside)
	}
}
