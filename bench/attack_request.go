package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What such requests may be answered with.
var (
	refused = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestURITooLong, http.StatusNotImplemented}
	ranged  = []int{
		http.StatusOK, http.StatusPartialContent, http.StatusBadRequest,
		http.StatusRequestedRangeNotSatisfiable, http.StatusRequestHeaderFieldsTooLarge,
	}
	served = []int{http.StatusOK}
)

// attackPace lies between two requests of a connection: these attacks are
// requests that cost much, not many requests.
const attackPace = 10 * time.Millisecond

// filler is what has no end.
var filler [64 << 10]byte

// paths asks for files, for what stands in no list, and for what two readers
// of the path may understand in two ways.
func paths(to target) (requests []string) {
	for _, path := range []string{
		"/../../../../etc/passwd",
		"/theatre/main/../../../../etc/passwd",
		"/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
		"/theatre/main/%2e%2e/%2e%2e/relay.yaml",
		"/theatre//main//live.m3u8",
		"/theatre/main/live.m3u8\x00.m4s",
		"/theatre/main/live.m3u8%00",
		"/" + strings.Repeat("a", 8<<10),
		"/nobody/main/00000001/1.m4s",
		"/theatre/main/00000001/18446744073709551616.m4s",
	} {
		requests = append(requests, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, to.address))
	}
	return requests
}

// lengths asks with bodies whose end is where one looks for it. Who is behind
// a proxy that sees another end takes the body for a request.
func lengths(to target) (requests []string) {
	for _, fields := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nContent-Length: 5",
		"Content-Length: 5\r\nContent-Length: 6",
		"Content-Length: 5, 6",
		"Content-Length: +5",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
		"Transfer-Encoding: xchunked",
		"Transfer-Encoding : chunked\r\nContent-Length: 5",
	} {
		requests = append(requests, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", to.path, to.address, fields))
	}
	return requests
}

// ranges asks for a segment in 10,000 pieces; for as many as a header has room
// for; and for ranges of which each is odd by itself.
func ranges(to target) (requests []string) {
	for _, value := range []string{
		"bytes=" + strings.Repeat("0-,", 10_000) + "0-",
		"bytes=" + strings.Repeat("0-,", 4_000) + "0-",
		"bytes=" + strings.Repeat("1-2,", 3_000) + "1-2",
		"items=0-1",
		"bytes=-0",
		"bytes=99999999999999999999-",
	} {
		requests = append(requests, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nRange: %s\r\n\r\n", to.path, to.address, value))
	}
	return requests
}

// ask sends one request after the other, beginning somewhere, until the server
// ends the connection; told that it does, it goes on with a body without end.
func (a *attack) ask(ctx context.Context, conn net.Conn, requests []string) error {
	reader := bufio.NewReader(conn)
	for {
		n := a.sent.Add(1)
		// One that is refused before it is whole may break off in a reset.
		if _, err := io.WriteString(conn, requests[int(n)%len(requests)]); err != nil {
			return err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		a.answered(response.StatusCode)
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close() // was read to its end
		for response.Close && err == nil {
			_, err = conn.Write(filler[:])
		}
		if err := errors.Join(err, pause(ctx, attackPace)); err != nil {
			return err
		}
	}
}

// lateBound lets the port be chosen at connect, so that one may be used towards
// many.
func lateBound(_, _ string, raw syscall.RawConn) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}), err)
}
