package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// readyAnswers are what can be answered without making anything: the records behind the
// question, as they stand in a message.
type readyAnswers struct {
	// fixed are the answers that never change, by name and type as in a question,
	// in lower case.
	fixed map[string]*form
	// negative is the SOA that says that there is nothing, by how many bytes the
	// name in the question has before the apex: 0, or those of one label. The
	// records' names point into the question, so their bytes depend on it.
	negative [1 + maxLabel + 1]form
	// taken are the labels below the apex that are a name server's, or above one,
	// or the gossip's. All others but the relays' are not there.
	taken map[string]bool
}

// maxLabel is how many bytes a label can have.
const maxLabel = 63

// form is an answer without its question.
type form struct {
	counts [3]uint16 // of answers, authority and additional records
	text   []byte
	kind   kind
}

// Where the SOA of a negative form has its TTL, behind the pointer to its name,
// type and class; the last thing in it is the same number once more.
const negativeTTLAt = 2 + 2 + 2

func newReadyAnswers(z *zone) (*readyAnswers, error) {
	r := &readyAnswers{fixed: make(map[string]*form), taken: map[string]bool{strings.TrimSuffix(gossipLabel, "."): true}}
	for n := range r.negative {
		label := strings.Repeat("~", max(n-1, 0)) // in no name server's name
		if n == 1 {
			continue // no label is empty
		}
		f, _, err := formOf(dns.Question{Name: strings.TrimPrefix(label+"."+z.apex, "."), Qclass: dns.ClassINET}, func(m *dns.Msg, _ dns.Question) {
			m.Ns = []dns.RR{z.negative(negativeTTL)}
		})
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", z.apex, err)
		}
		r.negative[n] = *f
	}
	add := func(name string, at place, types ...uint16) error {
		for _, qtype := range types {
			f, key, err := formOf(dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}, func(m *dns.Msg, q dns.Question) {
				if z.answer(m, q, at); len(m.Answer) == 0 {
					m.Ns = []dns.RR{z.negative(negativeTTL)}
				}
			})
			if err != nil {
				return fmt.Errorf("name server %q: %w", name, err)
			}
			f.kind = kind{data, qtype, numberOf(at)}
			if f.counts[0] == 0 {
				f.kind = kind{sort: noData, name: numberOf(at)}
			}
			r.fixed[string(key)] = f
		}
		return nil
	}
	if err := add(z.apex, atApex, dns.TypeSOA, dns.TypeNS); err != nil {
		return nil, err
	}
	for host := range z.hosts {
		if err := add(host, atHost, dns.TypeA, dns.TypeAAAA); err != nil {
			return nil, err
		}
		labels := dns.SplitDomainName(host)
		r.taken[labels[len(labels)-z.labels-1]] = true
	}
	return r, nil
}

// formOf packs the answer to a question, and returns what is behind it, and the
// question's name and type.
func formOf(q dns.Question, fill func(*dns.Msg, dns.Question)) (f *form, key []byte, err error) {
	m := &dns.Msg{Compress: true, Question: []dns.Question{q}}
	fill(m, q)
	b, err := m.Pack()
	if err != nil {
		return nil, nil, err
	}
	end := dnsHeaderBytes + bytes.IndexByte(b[dnsHeaderBytes:], 0) + 1 + 2 // no label of ours has a zero
	f = &form{text: b[end+2:]}
	for i := range f.counts {
		f.counts[i] = binary.BigEndian.Uint16(b[6+2*i:])
	}
	return f, b[dnsHeaderBytes:end], nil
}

// find returns the answer to a question that never changes.
func (r *readyAnswers) find(question []byte) *form {
	var buf [256 + 2]byte
	key := append(buf[:0], question...)
	for i, c := range key[:len(key)-2] {
		if 'A' <= c && c <= 'Z' {
			key[i] = c | 0x20
		}
	}
	return r.fixed[string(key)]
}

// has says whether a label stands for more than "there is no such name".
func (r *readyAnswers) has(label []byte) bool {
	var buf [maxLabel]byte
	lower := append(buf[:0], label...)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	return r.taken[string(lower)]
}
