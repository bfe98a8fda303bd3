package cluster

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestDNSPipelinedOverTCP(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	conn, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	var all []byte
	const queries = 50
	for i := range queries {
		m := question(testZone, dns.TypeA)
		m.Id = uint16(i)
		b, _ := m.Pack()
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
	}
	conn.Write(all)
	c := &dns.Conn{Conn: conn}
	for i := range queries {
		r, err := c.ReadMsg()
		if err != nil || r.Id != uint16(i) || len(r.Answer) != 3 {
			t.Fatalf("answer %d: %v, %v", i, r, err)
		}
	}
}

func TestDNSConnectionsAreBounded(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	var conns []net.Conn
	for range maxTCPConns + 20 {
		c, err := net.Dial("tcp", d.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns[:20] { // the oldest were closed
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	ask(t, d, testZone, dns.TypeA)
	last := &dns.Conn{Conn: conns[len(conns)-1]}
	last.WriteMsg(question(testZone, dns.TypeA))
	if r, err := last.ReadMsg(); err != nil || len(r.Answer) != 3 {
		t.Errorf("the newest connection: %v, %v", r, err)
	}
}

func TestDNSUnfinishedQueryOverTCP(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	for name, text := range map[string][]byte{"too long": {0xff, 0xff, 1}, "unfinished": {0, 100, 1}} {
		c, err := net.Dial("tcp", d.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(text)
		c.SetReadDeadline(time.Now().Add(tcpExchange + time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
