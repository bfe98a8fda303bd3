package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/markdingo/rrl"
	"github.com/miekg/dns"
)

// quick answers the questions that nearly all are: for addresses of the pool,
// or of one relay, with or without a plain OPT. It takes nothing apart that it
// need not and allocates nothing; a test holds it to the bytes of the long way.
// False sends the query there: it is another question, or not a good one.
func (d *DNS) quick(out, query []byte, from netip.Addr) ([]byte, bool) {
	q, ok := d.zone.readQuick(query)
	if !ok {
		return nil, false
	}
	var drawn [maxPick]netip.Addr
	addrs, ttl := drawn[:0], time.Duration(0)
	v6 := q.qtype == dns.TypeAAAA
	if q.at == atRelay {
		addrs, ttl = d.roster.relay(q.relay, v6, addrs)
	} else {
		addrs, ttl = d.roster.sample(v6, addrs)
	}
	if len(addrs) == 0 {
		return nil, false
	}
	kind := rrl.ResponseTuple{Class: dns.ClassINET, Type: q.qtype, SalientName: d.zone.salient(q.at)}
	slip := false
	switch d.limiter.admit(from, kind) {
	case rrl.Drop:
		return nil, true
	case rrl.Slip:
		addrs, slip = nil, true
	}
	return q.appendAnswer(out, addrs, uint32(ttl/time.Second), slip), true
}

// quickQuery is a question for addresses.
type quickQuery struct {
	text  []byte // the message up to the question's end
	qtype uint16
	at    place // atApex or atRelay
	relay netip.Addr
	opt   bool // an OPT without options
	do    bool // with the DO bit
}

// optBytes is an OPT without options.
const optBytes = 11

// readQuick reads a query, if it is one of those.
func (z *zone) readQuick(query []byte) (q quickQuery, ok bool) {
	const onlyRD = 0x01
	if len(query) < dnsHeaderBytes || query[2]&^onlyRD != 0 || query[3]&0xf != 0 ||
		binary.BigEndian.Uint64(query[4:])&^1 != 1<<48 { // one question, at most one additional record
		return q, false
	}
	end := dnsHeaderBytes
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end]) // a pointer leads far beyond the names that we look for
	}
	end += 5 // the root, type and class
	if end > len(query) {
		return q, false
	}
	q.text = query[:end]
	q.qtype = binary.BigEndian.Uint16(query[end-4:])
	if q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA || binary.BigEndian.Uint16(query[end-2:]) != dns.ClassINET {
		return q, false
	}
	if q.at, q.relay = z.findWire(query[dnsHeaderBytes : end-4]); q.at == outside {
		return q, false
	}
	opt := query[end:]
	switch {
	case query[11] == 0:
		return q, len(opt) == 0
	case len(opt) != optBytes || opt[0] != 0 || binary.BigEndian.Uint16(opt[1:]) != dns.TypeOPT || opt[6] != ednsVersion || opt[9] != 0 || opt[10] != 0:
		return q, false
	}
	q.opt, q.do = true, opt[7]&0x80 != 0
	return q, true
}

// findWire says whether a name as it stands in a message is the apex or a
// relay's; outside stands for all others.
func (z *zone) findWire(name []byte) (place, netip.Addr) {
	label := len(name) - len(z.wire)
	if label < 0 || !equalFold(name[label:], z.wire) {
		return outside, netip.Addr{}
	}
	if label == 0 {
		return atApex, netip.Addr{}
	}
	var raw [16]byte
	digits := label - 3 // the length, "e-"
	if digits != 8 && digits != 32 || int(name[0]) != label-1 || name[1]|0x20 != 'e' || name[2] != '-' {
		return outside, netip.Addr{}
	}
	n, err := hex.Decode(raw[:], name[3:label])
	if err != nil {
		return outside, netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(raw[:n])
	return atRelay, addr
}

// equalFold compares names without regard to the case of a to z; b is in lower
// case. The lengths of labels are under 64, and no letters.
func equalFold(a, b []byte) bool {
	for i, c := range a {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != b[i] {
			return false
		}
	}
	return true
}

// appendAnswer writes the answer: never longer than 512 bytes, since the name is
// at most the zone's and a label, and there are at most maxPick addresses.
func (q *quickQuery) appendAnswer(out []byte, addrs []netip.Addr, seconds uint32, truncated bool) []byte {
	out = append(out, q.text...)
	out[2] = 0x84 | q.text[2] // an answer, authoritative, RD
	if truncated {
		out[2] |= 0x02
	}
	out[3] = q.text[3] & 0x10 // CD
	binary.BigEndian.PutUint16(out[6:], uint16(len(addrs)))
	for _, addr := range addrs {
		const nameOfQuestion = 0xc000 | dnsHeaderBytes
		out = binary.BigEndian.AppendUint16(out, nameOfQuestion)
		out = binary.BigEndian.AppendUint16(out, q.qtype)
		out = binary.BigEndian.AppendUint16(out, dns.ClassINET)
		out = binary.BigEndian.AppendUint32(out, seconds)
		if addr.Is4() {
			raw := addr.As4()
			out = append(append(out, 0, byte(len(raw))), raw[:]...)
		} else {
			raw := addr.As16()
			out = append(append(out, 0, byte(len(raw))), raw[:]...)
		}
	}
	if q.opt {
		out = append(out, 0, 0, byte(dns.TypeOPT), udpBytes>>8, udpBytes&0xff, 0, ednsVersion, 0, 0, 0, 0)
		if q.do {
			out[len(out)-4] = 0x80
		}
	}
	return out
}
