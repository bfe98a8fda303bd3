package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// quick answers the questions that nearly all are: about the pool's name, a
// relay's, a name server's, or one that is not there, with or without an OPT
// that asks for nothing. It takes nothing apart that it need not and allocates
// nothing; a test holds it to the bytes of the long way. False sends the query
// there: it is another question, or not a good one.
func (d *DNS) quick(out, query []byte, from netip.Addr) ([]byte, bool) {
	q, ok := d.zone.readQuick(query)
	if !ok {
		return nil, false
	}
	var drawn [maxPick]netip.Addr
	addrs, ttl := drawn[:0], time.Duration(0)
	v6 := q.qtype == dns.TypeAAAA
	switch {
	case q.form != nil || q.at == missing || !v6 && q.qtype != dns.TypeA:
	case q.at == atRelay:
		addrs, ttl = d.roster.relay(q.relay, v6, addrs)
	default:
		addrs, ttl = d.roster.sample(v6, addrs)
	}
	f, k, seconds := q.form, kind{data, q.qtype, numberOf(q.at)}, uint32(ttl/time.Second)
	switch {
	case f != nil:
		k = f.kind
	case len(addrs) > 0:
	case q.at == missing:
		f, k, seconds = q.negative, kind{sort: noName}, negativeTTL
	default:
		f, k, seconds = q.negative, kind{sort: noData, name: numberOf(q.at)}, negativeTTL
		if d.roster.empty() {
			seconds = uint32(emptyTTL / time.Second)
		}
	}
	if f != nil && len(q.text)+len(f.text)+optBytes > dns.MinMsgSize {
		return nil, false // it may have to be cut
	}
	switch d.limiter.admit(from, k) {
	case dropped:
		return nil, true
	case slipped:
		return q.appendOPT(q.appendHead(out, [3]uint16{}, true)), true
	}
	if f != nil {
		return q.appendOPT(q.appendForm(out, f, seconds)), true
	}
	return q.appendOPT(q.appendAddresses(out, addrs, seconds)), true
}

// quickQuery is a question that can be answered quickly.
type quickQuery struct {
	text     []byte // the message up to the question's end
	qtype    uint16
	at       place // atApex, atRelay, atHost or missing
	relay    netip.Addr
	form     *form // the answer, where it never changes
	negative *form // to answer with when there is nothing
	opt      bool  // an OPT without options
	do       bool  // with the DO bit
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
	switch q.qtype {
	case dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR:
		return q, false
	}
	if binary.BigEndian.Uint16(query[end-2:]) != dns.ClassINET || !z.findQuick(&q) {
		return q, false
	}
	if query[11] == 0 {
		return q, len(query) == end
	}
	return q, q.readOPT(query[end:])
}

// readOPT reads an OPT that asks for nothing but the DO bit.
func (q *quickQuery) readOPT(opt []byte) bool {
	if len(opt) < optBytes || opt[0] != 0 || binary.BigEndian.Uint16(opt[1:]) != dns.TypeOPT || opt[6] != ednsVersion ||
		int(binary.BigEndian.Uint16(opt[9:])) != len(opt)-optBytes {
		return false
	}
	q.opt, q.do = true, opt[7]&0x80 != 0
	for options := opt[optBytes:]; len(options) > 0; {
		// Of a cookie we have no use; but BIND sends one with each question.
		if len(options) < 4 || binary.BigEndian.Uint16(options) != dns.EDNS0COOKIE {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if n > len(options) {
			return false
		}
		options = options[n:]
	}
	return true
}

// findQuick says what the question's name is. It returns false for names that
// are rarely asked for.
func (z *zone) findQuick(q *quickQuery) bool {
	name := q.text[dnsHeaderBytes : len(q.text)-4]
	before := len(name) - len(z.wire)
	if before < 0 || !equalFold(name[before:], z.wire) {
		return false
	}
	if before == 0 {
		q.at, q.negative = atApex, &z.ready.negative[0]
		if q.qtype == dns.TypeSOA || q.qtype == dns.TypeNS {
			q.form = z.ready.find(q.text[dnsHeaderBytes : len(q.text)-2])
		}
		return true
	}
	oneLabel := int(name[0]) == before-1
	if !oneLabel || z.ready.has(name[1:before]) {
		q.at = atHost
		q.form = z.ready.find(q.text[dnsHeaderBytes : len(q.text)-2])
		return q.form != nil
	}
	q.negative = &z.ready.negative[before]
	if q.relay = relayOf(name[1:before]); q.relay.IsValid() {
		q.at = atRelay
	} else {
		q.at = missing
	}
	return true
}

// relayOf reads the address in a relay's label; it is not valid in others.
func relayOf(label []byte) netip.Addr {
	var raw [16]byte
	digits := len(label) - 2 // "e-"
	if digits != 8 && digits != 32 || label[0]|0x20 != 'e' || label[1] != '-' {
		return netip.Addr{}
	}
	n, err := hex.Decode(raw[:], label[2:])
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(raw[:n])
	return addr
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

// appendHead writes the header and the question.
func (q *quickQuery) appendHead(out []byte, counts [3]uint16, truncated bool) []byte {
	out = append(out, q.text...)
	out[2] = 0x84 | q.text[2] // an answer, authoritative, RD
	if truncated {
		out[2] |= 0x02
	}
	out[3] = q.text[3] & 0x10 // CD
	if q.at == missing {
		out[3] |= dns.RcodeNameError
	}
	if q.opt {
		counts[2]++
	}
	for i, n := range counts {
		binary.BigEndian.PutUint16(out[6+2*i:], n)
	}
	return out
}

// appendForm writes an answer that is ready, but for the TTL of one that says
// that there is nothing.
func (q *quickQuery) appendForm(out []byte, f *form, seconds uint32) []byte {
	out = append(q.appendHead(out, f.counts, false), f.text...)
	if f == q.negative {
		text := out[len(q.text):]
		binary.BigEndian.PutUint32(text[negativeTTLAt:], seconds)
		binary.BigEndian.PutUint32(text[len(text)-4:], seconds)
	}
	return out
}

// appendAddresses writes addresses of the name in question: never more than 512
// bytes, since the name is at most the zone's and a label, and there are at most
// maxPick addresses.
func (q *quickQuery) appendAddresses(out []byte, addrs []netip.Addr, seconds uint32) []byte {
	out = q.appendHead(out, [3]uint16{uint16(len(addrs))}, false)
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
	return out
}

func (q *quickQuery) appendOPT(out []byte) []byte {
	if !q.opt {
		return out
	}
	out = append(out, 0, 0, byte(dns.TypeOPT), udpBytes>>8, udpBytes&0xff, 0, ednsVersion, 0, 0, 0, 0)
	if q.do {
		out[len(out)-4] = 0x80
	}
	return out
}
