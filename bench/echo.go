package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"time"
)

// echoHost is where the bare loop of the name server's load listens.
const echoHost = "127.0.0.21"

// echoCommand is "bench echo": it prints a line when it listens, and sends each
// packet back as an answer, until ctx ends. It knows no more of DNS than the bit
// that says so: it is the least that a Go server can do on this machine.
func echoCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	listen := flags.String("listen", net.JoinHostPort(echoHost, dnsPort), "ip:port")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", *listen)
	if err != nil {
		return err
	}
	socket := packets.(*net.UDPConn)
	_ = socket.SetReadBuffer(4 << 20) // as the name server's
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	if err := say(heldEvent{Event: "listening"}); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 2 {
			buffer[2] |= 0x80
			_, _ = socket.WriteToUDPAddrPort(buffer[:n], from) // lost on the way
		}
	}
}

// loadEcho puts the name server's load on the bare loop.
func (p *dnsPool) loadEcho(ctx context.Context) (*dnsRun, time.Duration, error) {
	server, err := startChild(ctx, serverCore, "echo")
	if err != nil {
		return nil, 0, err
	}
	defer server.kill()
	var event heldEvent
	if err := server.next(&event); err != nil {
		return nil, 0, fmt.Errorf("bare loop: %w", err)
	}
	return p.measure(ctx, echoHost, server.command.Process.Pid)
}
