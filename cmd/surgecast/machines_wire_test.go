package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// wire takes down what machines ask each other by HTTP, from the packets that
// cross their bridge: so it needs no node's own word.
type wire struct {
	socket int
	done   chan struct{} // closed when the socket is read no more

	mu    sync.Mutex
	stop  bool
	asked []asked
	known map[packet]bool // so that what is sent again by TCP counts once
}

// asked is one request.
type asked struct {
	at       time.Time
	from, to int // machines
	path     string
}

// packet is what a packet that is sent again has in common with the first.
type packet struct {
	from     netip.AddrPort
	sequence uint32
}

// Offsets in a frame, and a length that holds the headers and a request's first
// line.
const (
	ethernetBytes = 14
	snapBytes     = 512
)

// listen takes down what is asked from now on.
func (m *machines) listen() *wire {
	m.t.Helper()
	w := &wire{done: make(chan struct{}), known: map[packet]bool{}}
	var err error
	if entered := m.within(0, func() { w.socket, err = packetSocket() }); entered != nil || err != nil {
		m.t.Fatal(entered, err)
	}
	go w.read()
	m.t.Cleanup(w.end)
	return w
}

// packetSocket sees each frame that comes to a port of the bridge with the first
// bytes of a GET in it. It wakes up now and then, to be ended.
func packetSocket() (int, error) {
	filter, err := bpf.Assemble(requestsComingIn)
	if err != nil {
		return 0, err
	}
	var program []unix.SockFilter
	for _, one := range filter {
		program = append(program, unix.SockFilter{Code: one.Op, Jt: one.Jt, Jf: one.Jf, K: one.K})
	}
	// Of no protocol at first, so that nothing comes before the filter is there.
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	for _, step := range []func() error{
		func() error {
			return unix.SetsockoptSockFprog(socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		},
		func() error { return unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) },
		func() error {
			return unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
		},
		func() error {
			return unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})})
		},
	} {
		if err := step(); err != nil {
			_ = unix.Close(socket)
			return 0, err
		}
	}
	return socket, nil
}

// requestsComingIn passes "GET " at the beginning of what TCP carries. A frame
// is seen twice, as it comes in at one port and as it goes out at another.
var requestsComingIn = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 13},
	bpf.LoadAbsolute{Off: ethernetBytes - 2, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 11},
	bpf.LoadAbsolute{Off: ethernetBytes + 9, Size: 1}, // the protocol
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_TCP, SkipTrue: 9},
	bpf.LoadMemShift{Off: ethernetBytes}, // X: the length of IP's header
	bpf.LoadIndirect{Off: ethernetBytes + 12, Size: 1},
	bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
	bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 2}, // A: that of TCP's
	bpf.ALUOpX{Op: bpf.ALUOpAdd},
	bpf.TAX{},
	bpf.LoadIndirect{Off: ethernetBytes, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 'G'<<24 | 'E'<<16 | 'T'<<8 | ' ', SkipTrue: 1},
	bpf.RetConstant{Val: snapBytes},
	bpf.RetConstant{Val: 0},
}

// read goes on until end, and then takes what has come before.
func (w *wire) read() {
	defer close(w.done)
	frame := make([]byte, snapBytes)
	for patience := 0; ; {
		n, _, err := unix.Recvfrom(w.socket, frame, patience)
		if err != nil && patience == unix.MSG_DONTWAIT {
			return
		}
		w.mu.Lock()
		if err == nil {
			w.take(frame[:n], time.Now())
		}
		if w.stop {
			patience = unix.MSG_DONTWAIT
		}
		w.mu.Unlock()
	}
}

// take needs w.mu. The filter has looked at the headers.
func (w *wire) take(frame []byte, at time.Time) {
	ip := frame[ethernetBytes:]
	tcp := ip[4*(ip[0]&0xf):]
	from, to := netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	one := packet{netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp)), binary.BigEndian.Uint32(tcp[4:])}
	fields := bytes.Fields(tcp[tcp[12]>>4<<2:])
	if w.known[one] || len(fields) < 2 {
		return
	}
	w.known[one] = true
	path, _, _ := bytes.Cut(fields[1], []byte("?"))
	w.asked = append(w.asked, asked{at, machineAt(from), machineAt(to), string(path)})
}

// end stops the taking down; the first call does.
func (w *wire) end() {
	w.mu.Lock()
	first := !w.stop
	w.stop = true
	w.mu.Unlock()
	<-w.done
	if first {
		_ = unix.Close(w.socket)
	}
}

// finish returns all that was asked, of which nothing must be missing.
func (w *wire) finish(t *testing.T) []asked {
	t.Helper()
	stats, err := unix.GetsockoptTpacketStats(w.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		t.Errorf("not all requests were taken down: %+v, %v", stats, err)
	}
	w.end()
	return w.asked // nobody writes to it any more
}

// mediaAsked counts by machine and path how often a medium was asked for.
func mediaAsked(all []asked) map[int]map[string]int {
	counts := map[int]map[string]int{}
	for _, a := range all {
		if !slices.Contains([]string{".m4s", ".mp4"}, path.Ext(a.path)) {
			continue
		}
		if counts[a.from] == nil {
			counts[a.from] = map[string]int{}
		}
		counts[a.from][a.path]++
	}
	return counts
}

// What the wire takes down is what was asked, once.
func TestMachinesWire(t *testing.T) {
	m := newMachines(t, 2)
	w := m.listen()
	const question = "GET /a/1.m4s?x=y HTTP/1.1\r\n\r\n"
	var listener net.Listener
	var err error
	if entered := m.within(1, func() { listener, err = net.Listen("tcp", m.at(1, 8080)) }); entered != nil || err != nil {
		t.Fatal(entered, err)
	}
	defer listener.Close()
	conn, err := m.dialFrom(t.Context(), 2, "tcp", m.at(1, 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, question); err != nil {
		t.Fatal(err)
	}
	came, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer came.Close()
	if _, err := io.ReadFull(came, make([]byte, len(question))); err != nil {
		t.Fatal(err)
	}
	all := w.finish(t) // the packet passed the bridge before it was read here
	if len(all) != 1 || all[0].from != 2 || all[0].to != 1 || all[0].path != "/a/1.m4s" {
		t.Errorf("taken down was %+v", all)
	}
	if counts := mediaAsked(all); counts[2]["/a/1.m4s"] != 1 {
		t.Errorf("counted %v", counts)
	}
}
