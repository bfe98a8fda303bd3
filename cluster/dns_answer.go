package cluster

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	dnsHeaderBytes = 12
	// udpBytes is the most we send over UDP, whatever the asker could take:
	// more is fragmented on the way, and fragments are lost or forged.
	udpBytes = 1232
	// maxReplyOptions bounds what repeated options of one query make us write.
	maxReplyOptions = 4
	ednsVersion     = 0
)

// Respond answers one message as it came, over UDP or TCP. It returns nil for
// what must not be answered. It may be called from any goroutine.
func (d *DNS) Respond(query []byte, udp bool) []byte {
	return d.respond(nil, query, netip.Addr{}, udp)
}

// respond answers a message from an address, within the bound for its network.
// The answer may be in the memory of out.
func (d *DNS) respond(out, query []byte, from netip.Addr, udp bool) []byte {
	if !udp {
		from = netip.Addr{} // nobody forges an address over TCP
	}
	if answer, ok := d.quick(out, query, from); ok {
		return answer
	}
	return d.respondAny(query, from, udp)
}

// respondAny is the long way, for every message.
func (d *DNS) respondAny(query []byte, from netip.Addr, udp bool) []byte {
	// To answer an answer could loop between two servers for ever.
	if len(query) < dnsHeaderBytes || query[2]&0x80 != 0 {
		return nil
	}
	if opcode := query[2] >> 3 & 0xf; opcode != dns.OpcodeQuery {
		return d.refuse(query, from, dns.RcodeNotImplemented)
	}
	var q dns.Msg
	if q.Unpack(query) != nil || len(q.Question) != 1 {
		return d.refuse(query, from, dns.RcodeFormatError)
	}
	opt, ok := optOf(&q)
	if !ok {
		return d.refuse(query, from, dns.RcodeFormatError)
	}
	m := new(dns.Msg).SetReply(&q)
	m.Compress = true
	m.Question[0].Name = dns.CanonicalName(q.Question[0].Name) // pack gives the asker's
	k := kind{sort: failure}
	switch {
	case opt != nil && opt.Version() != ednsVersion:
		m.Rcode = dns.RcodeBadVers
	case q.Question[0].Qclass != dns.ClassINET:
		m.Rcode = dns.RcodeRefused // CHAOS too: our version is nobody's business
	default:
		k = d.answer(m, m.Question[0])
	}
	switch d.limiter.admit(from, k) {
	case dropped:
		return nil
	case slipped:
		m.Answer, m.Ns, m.Extra, m.Truncated = nil, nil, nil, true
	}
	limit := dns.MaxMsgSize
	if opt != nil {
		m.Extra = append(m.Extra, d.replyOpt(opt))
	}
	if udp {
		limit = udpLimit(opt)
	}
	return packWithin(m, limit, query)
}

// refuse answers with a header alone, which is never longer than the query.
func (d *DNS) refuse(query []byte, from netip.Addr, rcode byte) []byte {
	answer := bare(query, rcode)
	switch d.limiter.admit(from, kind{sort: failure}) {
	case dropped:
		return nil
	case slipped:
		answer[2] |= 0x02 // TC
	}
	return answer
}

// answer fills in what the zone says to a question of class IN, whose name is
// canonical, and returns what the answer counts as.
func (d *DNS) answer(m *dns.Msg, q dns.Question) kind {
	at, addr := d.zone.find(q.Name)
	if at == outside || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		m.Rcode = dns.RcodeRefused
		return kind{sort: failure}
	}
	m.Authoritative = true
	seconds := uint32(negativeTTL)
	switch {
	case d.zone.answer(m, q, at):
	case at == atApex:
		m.Answer = addresses(q, func(v6 bool) ([]netip.Addr, time.Duration) { return d.roster.sample(v6, nil) })
	case at == atRelay:
		m.Answer = addresses(q, func(v6 bool) ([]netip.Addr, time.Duration) { return d.roster.relay(addr, v6, nil) })
	case at == atGossip:
		m.Answer = d.gossip(q)
	}
	switch {
	case len(m.Answer) > 0:
		return kind{data, q.Qtype, numberOf(at)}
	case (at == atApex || at == atRelay) && d.roster.empty():
		seconds = uint32(emptyTTL / time.Second)
	}
	m.Ns = []dns.RR{d.zone.negative(seconds)}
	if at == missing {
		m.Rcode = dns.RcodeNameError
		return kind{sort: noName}
	}
	return kind{sort: noData, name: numberOf(at)}
}

// addresses returns the records of a question for A or AAAA. To ANY it gives
// one set, RFC 8482 4.1: A, or AAAA where there is no A.
func addresses(q dns.Question, of func(v6 bool) ([]netip.Addr, time.Duration)) []dns.RR {
	family := func(v6 bool) []dns.RR {
		addrs, ttl := of(v6)
		return addressRecords(q.Name, addrs, v6, uint32(ttl/time.Second))
	}
	switch q.Qtype {
	case dns.TypeA:
		return family(false)
	case dns.TypeAAAA:
		return family(true)
	case dns.TypeANY:
		if records := family(false); len(records) > 0 {
			return records
		}
		return family(true)
	}
	return nil
}

// optOf returns the one OPT record of a query, nil without; false when there
// are more or it stands at another name than the root, RFC 6891 6.1.1.
func optOf(q *dns.Msg) (opt *dns.OPT, ok bool) {
	for _, rr := range q.Extra {
		o, is := rr.(*dns.OPT)
		if !is {
			continue
		}
		if opt != nil || o.Hdr.Name != "." {
			return nil, false
		}
		opt = o
	}
	return opt, true
}

// replyOpt answers an OPT: ours, with the DO bit back, and of the options only
// those that ask for something that we have.
func (d *DNS) replyOpt(query *dns.OPT) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetVersion(ednsVersion)
	opt.SetUDPSize(udpBytes)
	opt.SetDo(query.Do())
	for _, option := range query.Option {
		switch o := option.(type) {
		case *dns.EDNS0_NSID:
			if d.id != "" {
				opt.Option = append(opt.Option, nsid(d.id))
			}
		case *dns.EDNS0_SUBNET:
			// Scope 0: the answer doesn't depend on the client's network.
			opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{
				Code: dns.EDNS0SUBNET, Family: o.Family, SourceNetmask: o.SourceNetmask, Address: o.Address,
			})
		}
		if len(opt.Option) == maxReplyOptions {
			break
		}
	}
	return opt
}

func nsid(id string) dns.EDNS0 {
	return &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(id))}
}

// udpLimit is how long an answer over UDP may be.
func udpLimit(opt *dns.OPT) int {
	if opt == nil {
		return dns.MinMsgSize
	}
	return min(max(int(opt.UDPSize()), dns.MinMsgSize), udpBytes)
}

// packWithin writes an answer. What is too long loses the additional records
// first; then it is empty and says TC, so that the asker comes by TCP.
func packWithin(m *dns.Msg, limit int, query []byte) []byte {
	b, err := pack(m, query)
	if err == nil && len(b) > limit {
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
		b, err = pack(m, query)
	}
	if err == nil && len(b) > limit {
		m.Answer, m.Ns, m.Truncated = nil, nil, true
		b, err = pack(m, query)
	}
	if err != nil || len(b) > limit {
		return bare(query, dns.RcodeServerFailure)
	}
	return b
}

// pack writes an answer whose question has the canonical name, onto which the
// names of the records are compressed, and puts the name over it as it came: its
// case is what the asker knows its answer by.
func pack(m *dns.Msg, query []byte) ([]byte, error) {
	b, err := m.Pack()
	if err != nil {
		return nil, err
	}
	end := dnsHeaderBytes
	for end < len(b) && b[end] != 0 { // it is the first name, so it has no pointer
		end += 1 + int(b[end])
	}
	if end <= min(len(b), len(query)) && equalFold(query[dnsHeaderBytes:end], b[dnsHeaderBytes:end]) {
		copy(b[dnsHeaderBytes:end], query[dnsHeaderBytes:end])
	}
	return b, nil
}

// bare answers with a header alone, for what can't be read or isn't done.
func bare(query []byte, rcode byte) []byte {
	b := make([]byte, dnsHeaderBytes)
	copy(b, query[:2])           // the id
	b[2] = 0x80 | query[2]&0x79  // an answer, the same opcode, RD
	b[3] = query[3]&0x10 | rcode // CD
	return b
}
