package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// loop drives thousands of HTTP/1.1 connections from one thread: the load shares
// the machine with the server, so it must cost next to nothing. One buffer
// serves all connections, and a body that nobody wants is thrown away by the
// kernel without a copy, or over TLS without being deciphered. All callbacks run
// on the loop's goroutine.
type loop struct {
	epoll  int
	lines  map[int32]*line
	buffer []byte
	timers timers
	head   string        // of a request after its path
	asked  []byte        // the last request
	rest   time.Duration // after each turn, so that the next one has more to do

	posted chan func() // by other goroutines
}

// bufferBytes bounds the head of an answer, and how much is thrown away at once.
const bufferBytes = 1 << 20

// newLoop makes a loop whose requests are for one host, with more fields as
// given, each with its line's end.
func newLoop(host, fields string) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	return &loop{epoll: epoll, posted: make(chan func(), 1024), lines: map[int32]*line{}, buffer: make([]byte, bufferBytes), head: " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n"}, nil
}

// browserFields are about what a browser sends: servers read every line of it.
const browserFields = "Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n"

// answer is what a request got. It and its body belong to the loop again when
// the callback returns.
type answer struct {
	err    error // the connection broke; the rest then says nothing
	status int
	etag   string
	gzip   bool
	size   int // of the body
	body   []byte
	last   time.Time // when the last byte came
}

// line is one connection.
type line struct {
	loop   *loop
	fd     int
	sealed *sealed // nil in cleartext

	want   func(etag string) bool // whether the body is wanted; nil: never
	done   func(*answer)          // nil while nothing is asked
	answer answer
	head   []byte // an answer's head as far as it came, when it came in pieces
	left   int    // bytes of the body that are still to come
	keep   bool   // the body is wanted
}

// dial connects to a server on this machine, from a given address.
func (l *loop) dial(from netip.Addr, to netip.AddrPort) (*line, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	// The port is chosen at connect, so that one may be used towards many.
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	err = errors.Join(err,
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}))
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err == nil {
		err = errors.Join(unix.SetNonblock(fd, true),
			unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	if err != nil {
		_ = unix.Close(fd) // the first error tells
		return nil, fmt.Errorf("connect to %v: %w", to, err)
	}
	c := &line{loop: l, fd: fd}
	l.lines[int32(fd)] = c
	return c, nil
}

// get asks for a path; one request at a time. done is called with the whole
// answer, or with the error that ended the connection.
func (c *line) get(path string, want func(etag string) bool, done func(*answer)) {
	c.want, c.done = want, done
	b := append(c.loop.asked[:0], "GET "...)
	b = append(b, path...)
	b = append(b, c.loop.head...)
	c.loop.asked = b
	if c.sealed != nil {
		b = c.sealed.out.seal(b)
	}
	// Requests are small: one that does not fit into the socket means that the
	// server has stopped reading.
	if n, err := unix.Write(c.fd, b); err != nil || n < len(b) {
		c.loop.after(0, func() { c.fail(fmt.Errorf("send a request: %w", err)) })
	}
}

// close ends the connection; what was asked gets no answer.
func (c *line) close() {
	if c.fd < 0 {
		return
	}
	delete(c.loop.lines, int32(c.fd))
	_ = unix.Close(c.fd) // nothing is lost
	c.fd, c.done = -1, nil
}

func (c *line) fail(err error) {
	done := c.done
	c.close()
	if done != nil {
		done(&answer{err: err})
	}
}

// run serves the connections until ctx ends or finished says so, which is
// asked after each turn.
func (l *loop) run(ctx context.Context, finished func() bool) error {
	events := make([]unix.EpollEvent, 256)
	for ctx.Err() == nil && !finished() {
		n, err := unix.EpollWait(l.epoll, events, l.timers.wait(time.Now()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, event := range events[:max(n, 0)] {
			if c := l.lines[event.Fd]; c != nil {
				c.readable()
			}
		}
		l.timers.fire(time.Now())
		time.Sleep(l.rest)
	}
	return nil
}

// runPosted is run for a loop without connections of its own: it serves what
// goroutines post. Waiting in the kernel it would keep them from the only core.
func (l *loop) runPosted(ctx context.Context, finished func() bool) {
	for ctx.Err() == nil && !finished() {
		wait := time.Duration(l.timers.wait(time.Now())) * time.Millisecond
		select {
		case f := <-l.posted:
			f()
		case <-time.After(wait):
		case <-ctx.Done():
		}
		l.timers.fire(time.Now())
	}
}

// after calls f on the loop's goroutine, when d has passed.
func (l *loop) after(d time.Duration, f func()) { l.timers.add(time.Now().Add(d), f) }

// post calls f on the loop's goroutine, if it is in runPosted. Any goroutine may
// call it; it waits while the loop has a thousand to do, and gives up with ctx.
func (l *loop) post(ctx context.Context, f func()) {
	select {
	case l.posted <- f:
	case <-ctx.Done():
	}
}

// stop closes all.
func (l *loop) stop() {
	for _, c := range l.lines {
		c.close()
	}
	_ = unix.Close(l.epoll) // nothing is lost
}

// headRead is how much is read of an answer at first: the head, and of the body
// no more than is copied in the time of one more call.
const headRead = 4 << 10

var (
	errClosed = errors.New("the server closed the connection")
	errLonger = errors.New("an answer is longer than it says")
)

// readable takes what has come.
func (c *line) readable() {
	if c.sealed != nil {
		if err := c.readSealed(); err != nil {
			c.fail(err)
		}
		return
	}
	for {
		var n int
		var err error
		buffer := c.loop.buffer
		switch {
		case c.left == 0:
			n, err = unix.Read(c.fd, buffer[:headRead])
		case c.keep:
			n, err = unix.Read(c.fd, buffer[:min(c.left, len(buffer))])
		default: // the kernel drops it without a copy
			n, _, err = unix.Recvfrom(c.fd, buffer[:min(c.left, len(buffer))], unix.MSG_TRUNC)
		}
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			return
		case err != nil:
			c.fail(fmt.Errorf("read an answer: %w", err))
			return
		case n == 0:
			c.fail(errClosed)
			return
		}
		if err := c.take(buffer[:n]); err != nil {
			c.fail(err)
			return
		}
		if c.fd < 0 || c.left == 0 {
			return // a new answer comes with a new event
		}
	}
}

// take goes on with an answer.
func (c *line) take(b []byte) error {
	if c.done == nil {
		return errors.New("the server sent what nobody asked for")
	}
	if c.left > 0 {
		c.takeBody(b)
		return nil
	}
	if len(c.head) > 0 {
		c.head = append(c.head, b...)
		b = c.head
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	switch {
	case end < 0 && len(b) > 16<<10:
		return errors.New("the head of an answer is longer than 16 kB")
	case end < 0:
		if len(c.head) == 0 {
			c.head = append(c.head, b...)
		}
		return nil
	}
	if err := c.answer.parseHead(b[:end]); err != nil {
		return err
	}
	c.left = c.answer.size
	c.keep = c.want != nil && c.want(c.answer.etag)
	c.answer.body = c.answer.body[:0]
	body := b[end+4:]
	if len(body) > c.left {
		return errLonger
	}
	c.takeBody(body)
	c.head = c.head[:0]
	return nil
}

// takeBody counts the body down; when it is whole, the one who asked is told.
func (c *line) takeBody(b []byte) {
	if c.keep {
		c.answer.body = append(c.answer.body, b...)
	}
	c.count(len(b))
}

// count is takeBody for bytes that nobody wants.
func (c *line) count(bytes int) {
	if c.left -= bytes; c.left > 0 {
		return
	}
	done := c.done
	c.done = nil
	c.answer.last = time.Now()
	done(&c.answer)
	c.answer.body = nil // thousands of them would hold a list each
}

// parseHead reads status and the fields that matter here.
func (a *answer) parseHead(head []byte) error {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("not an answer: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return fmt.Errorf("not an answer: %q", line)
	}
	*a = answer{status: status, size: -1, body: a.body, etag: a.etag}
	tag := []byte(nil)
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if a.size, err = strconv.Atoi(string(value)); err != nil || a.size < 0 {
				return fmt.Errorf("not a length: %q", value)
			}
		case bytes.EqualFold(name, []byte("ETag")):
			tag = value
		case bytes.EqualFold(name, []byte("Content-Encoding")):
			a.gzip = bytes.Equal(value, []byte("gzip"))
		}
	}
	if string(tag) != a.etag { // compared without a copy
		a.etag = string(tag)
	}
	if a.size < 0 {
		return errors.New("an answer without Content-Length")
	}
	return nil
}
