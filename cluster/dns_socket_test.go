package cluster

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Packets that came together are answered together, each to its sender, by IPv4
// and IPv6, and one that is not answered holds none of the others up.
func TestDNSBatch(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]", "[::]"} {
		t.Run(host, func(t *testing.T) { testBatch(t, host) })
	}
}

func testBatch(t *testing.T, host string) {
	s, err := listenUDP(host + ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := s.addr.(*net.UDPAddr)
	if at.IP.IsUnspecified() {
		at = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.Port} // comes to a socket of IPv6
	}
	var senders []*net.UDPConn
	const packets = batchSize + 3
	for i := range packets {
		c, err := net.DialUDP("udp", nil, at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		senders = append(senders, c)
		fmt.Fprintf(c, "question %d", i)
	}
	b, seen := newBatch(), 0
	for _, want := range []int{batchSize, 3} {
		if err := b.receive(s.fd); err != nil || b.arrived != want {
			t.Fatalf("%d packets, %v; want %d", b.arrived, err, want)
		}
		for i := range b.arrived {
			text, from := b.query(i)
			if want := netip.MustParseAddrPort(senders[seen].LocalAddr().String()).Addr(); from.Unmap() != want {
				t.Errorf("packet %d is from %v, not %v", seen, from, want)
			}
			if seen%2 == 0 {
				b.reply(i, append(b.room[i][:0], bytes.Replace(text, []byte("question"), []byte("answer"), 1)...))
			}
			seen++
		}
		b.send(s.fd)
	}
	for i := 0; i < packets; i += 2 {
		buf := make([]byte, 100)
		senders[i].SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := senders[i].Read(buf)
		if want := fmt.Sprintf("answer %d", i); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v; want %q", buf[:n], err, want)
		}
	}
}

// An answer that the kernel does not take is left out, and those behind it go.
func TestDNSBatchPassesOverWhatCannotBeSent(t *testing.T) {
	s, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.DialUDP("udp", nil, s.addr.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := newBatch()
	c.Write([]byte("a"))
	c.Write([]byte("b"))
	if err := b.receive(s.fd); err != nil || b.arrived != 2 {
		t.Fatal(b.arrived, err)
	}
	b.reply(0, make([]byte, 1<<16)) // no datagram is so long
	b.reply(1, []byte("here"))
	b.send(s.fd)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "here" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// A question is taken from the kernel, answered and sent without an allocation.
func TestDNSBatchAllocatesNothing(t *testing.T) {
	d, _ := newQuietDNS(t)
	s, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.DialUDP("udp", nil, s.addr.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	query, _ := question(testZone, dns.TypeA).Pack()
	buf, b := make([]byte, udpBytes), newBatch()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n := testing.AllocsPerRun(100, func() {
		c.Write(query)
		b.receive(s.fd)
		d.answerAll(b)
		b.send(s.fd)
		c.Read(buf)
	}); n >= 1 { // the roster is looked at anew now and then
		t.Errorf("%v allocations a question", n)
	}
}

// A socket ends its reader from within the call, and before it has begun; its
// descriptor is closed either way, once.
func TestDNSSocketCloses(t *testing.T) {
	for _, read := range []bool{false, true} {
		s, err := listenUDP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		d, _ := newQuietDNS(t)
		ended := make(chan struct{})
		if read {
			go func() { d.serveUDP(s); close(ended) }()
			for !s.isRead() {
				time.Sleep(time.Millisecond)
			}
		}
		s.Close()
		s.Close()
		if !read {
			go func() { d.serveUDP(s); close(ended) }()
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the reader stays")
		}
		again, err := net.ListenPacket("udp", s.addr.String())
		if err != nil {
			t.Errorf("read %v: %v", read, err)
			continue
		}
		again.Close()
	}
}

func (s *udpSocket) isRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading
}

func newQuietDNS(t *testing.T) (*DNS, *fakeView) {
	t.Helper()
	view := &fakeView{members: threeRelays}
	d, err := NewDNS(DNSConfig{
		Zone: testZone, View: view.list, NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.53")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, view
}

// The thread that reads asks for the short slice and changes nothing else.
func TestDNSReaderHurries(t *testing.T) {
	done := make(chan [2]*unix.SchedAttr)
	go func() {
		before, _ := unix.SchedGetAttr(0, 0)
		hurry()
		after, _ := unix.SchedGetAttr(0, 0)
		done <- [2]*unix.SchedAttr{before, after}
	}()
	got := <-done
	before, after := got[0], got[1]
	if before == nil || after == nil || before.Policy != unix.SCHED_NORMAL {
		t.Skip("no such call here, or another policy")
	}
	if after.Policy != before.Policy || after.Nice != before.Nice {
		t.Errorf("%+v became %+v", *before, *after)
	}
	if after.Runtime != before.Runtime && after.Runtime != uint64(readerSlice) {
		t.Errorf("a slice of %d ns", after.Runtime)
	}
}
