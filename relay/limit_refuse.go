package relay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

const (
	// refusalBound is how long a refusal may take: the request's way here, and
	// the answer's back.
	refusalBound = time.Second
	// hastyMost is the same where the next in the queue waits, as long as those
	// before had their requests here in time. After one that had not it is
	// hastyLeast, which is for a request that is here already, and doubles again:
	// so a busy machine's viewers are heard, and silent ones hold nobody up. Who is
	// not heard may get a reset after the answer.
	hastyMost  = 32 * time.Millisecond
	hastyLeast = 2 * time.Millisecond
)

// maxRefusedBytes is how much of a request is looked at.
const maxRefusedBytes = 4 << 10

// sayFull answers a connection that has no seat, and reads what is sent so that
// the answer is not lost in a reset. It tells whether the whole request came. On a
// secure connection it says nothing.
func (g *Gate) sayFull(conn net.Conn, secure bool, patience time.Duration) (heard bool) {
	if secure {
		return false
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	head, whole := readHead(conn)
	if len(head) == 0 && patience > hastyMost {
		return false
	}
	_ = conn.SetWriteDeadline(time.Now().Add(patience)) // a new socket has room for an answer
	if _, err := conn.Write(g.fullAnswer(head)); err != nil || whole || patience <= hastyMost {
		return whole
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, maxRefusedBytes)
	}
	return whole
}

// readHead reads a request as far as its empty line, or what comes of it.
func readHead(conn io.Reader) (head []byte, whole bool) {
	head = make([]byte, 0, maxRefusedBytes)
	for len(head) < cap(head) {
		n, err := conn.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return head, true
		}
		if err != nil {
			break
		}
	}
	return head, false
}

// fullAnswer is the answer to a request that finds no seat: a new session is
// sent to another relay, once; all else is told to come again.
func (g *Gate) fullAnswer(head []byte) []byte {
	elsewhere := ""
	if g.Elsewhere != nil {
		elsewhere = g.Elsewhere()
	}
	status, more, text := "503 Service Unavailable", "", "this relay is full, try again"
	if elsewhere != "" {
		text = "this relay is full, there is another one at " + elsewhere
		if target := newSession(head); target != "" {
			status, more = "307 Temporary Redirect", "Location: "+elsewhere+markSent(target)+"\r\n"
		}
	}
	// Those who are turned away together do not come again together.
	retryAfter := 2 + rand.IntN(4)
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\n"+
		"Cache-Control: no-store\r\n"+
		"Retry-After: %d\r\n"+
		"Access-Control-Allow-Origin: *\r\n"+
		"Access-Control-Expose-Headers: Retry-After\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\n"+
		"%s"+
		"Connection: close\r\n\r\n%s\n", status, retryAfter, len(text)+1, more, text)
}

// newSession returns the target of a request that begins a session and was not
// sent on before, else "". It is for a Location, so it takes only what can
// stand there as it is.
func newSession(head []byte) string {
	line, _, whole := bytes.Cut(head, []byte("\r\n"))
	target, isGet := strings.CutPrefix(string(line), "GET ")
	target, isHTTP := strings.CutSuffix(target, " HTTP/1.1")
	path, query, _ := strings.Cut(target, "?")
	switch {
	case !whole || !isGet || !isHTTP || strings.Contains(query, sentMark):
		return ""
	case !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || !strings.HasSuffix(path, "/index.m3u8"):
		return ""
	case strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '#' }):
		return ""
	}
	return target
}

// markSent adds the mark of a request that was sent on.
func markSent(target string) string {
	if strings.Contains(target, "?") {
		return target + "&" + sentMark
	}
	return target + "?" + sentMark
}
