package cluster

import (
	"container/list"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// maxQueryBytes bounds a query; those of resolvers have 50 to 300 bytes.
	// What is longer comes cut over UDP and gets FORMERR; over TCP it ends the
	// connection.
	maxQueryBytes = 4096
	// tcpIdle is how long a connection may be silent between queries.
	tcpIdle = 10 * time.Second
	// tcpExchange bounds the arrival of a query that has begun, and the
	// writing of an answer.
	tcpExchange = 2 * time.Second
	// errorPause keeps a socket that fails, as without file descriptors, from
	// taking a core.
	errorPause = 20 * time.Millisecond
)

// serveUDP answers packets until the socket is closed. One of them is enough for
// a socket: more would hand each packet from one to the next.
func (d *DNS) serveUDP(socket *udpSocket) {
	if !socket.begin() {
		return
	}
	defer socket.end()
	hurry()
	packets := newBatch()
	for {
		err := packets.receive(socket.fd)
		switch {
		case socket.closed.Load():
			return
		case err != nil && !errors.Is(err, syscall.EINTR):
			d.log.Debug("dns packets not read", "err", err)
			time.Sleep(errorPause)
		}
		d.answerAll(packets)
		packets.send(socket.fd)
	}
}

func (d *DNS) answerAll(packets *batch) {
	for i := range packets.arrived {
		query, from := packets.query(i)
		if answer := d.respond(packets.room[i][:0], query, from, true); answer != nil {
			packets.reply(i, answer)
		}
	}
}

// serveTCP accepts connections until the listener is closed, and waits for
// those that are open.
func (d *DNS) serveTCP(listener net.Listener) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			d.log.Debug("dns connection not accepted", "err", err)
			time.Sleep(errorPause)
			continue
		}
		entry := d.conns.add(conn)
		if entry == nil {
			return
		}
		open.Go(func() {
			defer d.conns.remove(entry)
			d.serveConn(conn, entry)
		})
	}
}

// serveConn answers the queries of one connection in their order, also those
// that were sent without waiting.
func (d *DNS) serveConn(conn net.Conn, entry *list.Element) {
	var length [2]byte
	buf := make([]byte, 0, 512)
	for {
		conn.SetDeadline(time.Now().Add(tcpIdle))
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxQueryBytes {
			return
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		conn.SetDeadline(time.Now().Add(tcpExchange))
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return
		}
		d.conns.touch(entry)
		answer := d.Respond(buf[:n], false)
		if answer == nil {
			return
		}
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(answer)), uint16(len(answer)))
		if _, err := conn.Write(append(framed, answer...)); err != nil {
			return
		}
	}
}
