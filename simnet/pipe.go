package simnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// pipeBytes bounds what one direction of a stream holds, in flight and not yet
// read, as Linux's largest send buffer does. A Write beyond it waits for the
// reader; in a bubble of fake time no goroutine may hold a mutex meanwhile that
// others wait for, since time then stands still.
const pipeBytes = 4 << 20

// pipe is one direction of a stream. Its fields are guarded by net.mu.
type pipe struct {
	net   *Network
	link  link
	delay time.Duration

	chunks []chunk // oldest first; an end is the last
	size   int     // bytes in chunks

	readClosed, writeClosed     bool // at this end: further calls fail at once
	readDeadline, writeDeadline time.Time
	refusedAt                   time.Time // when the writer learns that nobody reads; zero: never

	wake chan struct{} // closed at the next change; nil while nobody waits
}

// chunk is a piece of the stream, or its end, on its way to the reader.
type chunk struct {
	at   time.Time // of arrival
	data []byte
	end  error // io.EOF for an orderly close, ECONNRESET for a reset
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		p.net.mu.Lock()
		n, err := p.tryRead(b, time.Now())
		if n > 0 || err != nil || len(b) == 0 {
			p.net.mu.Unlock()
			return n, err
		}
		wake, until := p.waiting(), p.readDeadline
		if len(p.chunks) > 0 && p.cut() == nil {
			until = earlier(until, p.chunks[0].at)
		}
		p.net.mu.Unlock()
		wait(wake, until)
	}
}

func (p *pipe) tryRead(b []byte, now time.Time) (n int, err error) {
	switch {
	case p.readClosed:
		return 0, net.ErrClosed
	case passed(p.readDeadline, now):
		return 0, os.ErrDeadlineExceeded
	}
	for n < len(b) && len(p.chunks) > 0 && p.arrived(p.chunks[0].at, now) {
		head := &p.chunks[0]
		if head.end != nil {
			if n == 0 {
				err = head.end
			}
			break
		}
		m := copy(b[n:], head.data)
		n += m
		head.data = head.data[m:]
		if len(head.data) == 0 {
			p.chunks = p.chunks[1:]
		}
	}
	if n > 0 {
		p.size -= n
		p.notify()
	}
	return n, err
}

func (p *pipe) write(b []byte) (written int, err error) {
	for {
		p.net.mu.Lock()
		n, err := p.tryWrite(b[written:], time.Now())
		written += n
		if err != nil || written == len(b) {
			p.net.mu.Unlock()
			return written, err
		}
		wake, until := p.waiting(), p.writeDeadline
		if p.cut() == nil {
			until = earlier(until, p.refusedAt)
		}
		p.net.mu.Unlock()
		wait(wake, until)
	}
}

func (p *pipe) tryWrite(b []byte, now time.Time) (int, error) {
	switch {
	case p.writeClosed:
		return 0, net.ErrClosed
	case passed(p.writeDeadline, now):
		return 0, os.ErrDeadlineExceeded
	case !p.refusedAt.IsZero() && p.arrived(p.refusedAt, now):
		return 0, syscall.EPIPE
	}
	n := min(len(b), pipeBytes-p.size)
	if n > 0 {
		p.chunks = append(p.chunks, chunk{at: now.Add(p.delay), data: append([]byte(nil), b[:n]...)})
		p.size += n
		p.notify()
	}
	return n, nil
}

// closeWrite sends the end of the stream; the first end counts.
func (p *pipe) closeWrite(end error) {
	if p.writeClosed {
		return
	}
	p.writeClosed = true
	p.chunks = append(p.chunks, chunk{at: time.Now().Add(p.delay), end: end})
	p.notify()
}

// reset sends the end even when an orderly one was sent before.
func (p *pipe) reset() {
	if p.writeClosed && len(p.chunks) > 0 && p.chunks[len(p.chunks)-1].end == io.EOF {
		return
	}
	p.closeWrite(syscall.ECONNRESET)
}

// closeRead tells the writer, one delay later, that nobody reads any more.
func (p *pipe) closeRead() {
	p.readClosed = true
	p.refusedAt = time.Now().Add(p.delay)
	p.notify()
}

// resend puts off everything that a cut held back.
func (p *pipe) resend(since time.Time) {
	again := time.Now().Add(p.delay)
	for i := range p.chunks {
		if p.chunks[i].at.After(since) {
			p.chunks[i].at = again
		}
	}
	if p.refusedAt.After(since) {
		p.refusedAt = again
	}
	p.notify()
}

// arrived says whether something due at a time is there: a cut holds back what
// was still on its way when it began.
func (p *pipe) arrived(at, now time.Time) bool {
	if at.After(now) {
		return false
	}
	c := p.cut()
	return c == nil || !at.After(c.since)
}

func (p *pipe) cut() *cut { return p.net.cuts[p.link] }

func (p *pipe) waiting() <-chan struct{} {
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	return p.wake
}

func (p *pipe) notify() {
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}

// wait returns when wake is closed or a time, unless it is zero, has come.
func wait(wake <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-wake
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

func passed(deadline, now time.Time) bool {
	return !deadline.IsZero() && !deadline.After(now)
}

// earlier returns the earlier of two times, of which a zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
