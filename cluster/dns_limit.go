package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/markdingo/rrl"
	"github.com/miekg/dns"
)

// limiter bounds the answers of one kind that go by UDP to one network (IPv4:
// /24, IPv6: /56), so that who forges a victim's address gets the victim little
// more than what it was asked. Of the answers beyond the bound every second one
// is empty and says TC, so that a resolver in that network comes by TCP; the
// others are not sent.
type limiter struct {
	rrl *rrl.RRL
}

// newLimiter returns nil, which limits nothing, for 0.
func newLimiter(perSecond int) (*limiter, error) {
	if perSecond == 0 {
		return nil, nil
	}
	config := rrl.NewConfig()
	if err := config.SetValue("responses-per-second", strconv.Itoa(perSecond)); err != nil {
		return nil, fmt.Errorf("rate limit: %w", err)
	}
	return &limiter{rrl: rrl.NewRRL(config)}, nil
}

// admit says what to do with an answer to a network: rrl.Send, Slip or Drop. An
// answer of no known network is sent.
func (l *limiter) admit(to netip.Addr, kind rrl.ResponseTuple) rrl.Action {
	if l == nil || !to.IsValid() {
		return rrl.Send
	}
	action, _, reason := l.rrl.Debit(&net.UDPAddr{IP: to.Unmap().WithZone("").AsSlice(), Port: 1}, &kind)
	if reason == rrl.RTCacheFull {
		// A hundred thousand networks at once: the flood is spread so thin that
		// it hurts none of them, and to drop would hurt all resolvers.
		return rrl.Send
	}
	return action
}

// kindOf is what an answer counts as. All relays' own names are one, as are all
// names that are not there: else whoever asks for another one each time
// would never reach the bound.
func (z *zone) kindOf(q dns.Question, m *dns.Msg, at place) rrl.ResponseTuple {
	kind := rrl.ResponseTuple{Class: q.Qclass, Type: q.Qtype, SalientName: z.salient(at)}
	switch {
	case m.Rcode == dns.RcodeNameError:
		kind.AllowanceCategory = rrl.AllowanceNXDomain
	case m.Rcode != dns.RcodeSuccess:
		kind.AllowanceCategory = rrl.AllowanceError
	case len(m.Answer) == 0:
		kind.AllowanceCategory = rrl.AllowanceNoData
	}
	if at == atHost || at == between {
		kind.SalientName = q.Name // there are only a few
	}
	return kind
}

// salient is the name that answers of a place are counted under.
func (z *zone) salient(at place) string {
	if at == atRelay {
		return z.relays
	}
	return z.apex
}

// unread is the kind of answers to what could not be read.
var unread = rrl.ResponseTuple{AllowanceCategory: rrl.AllowanceError}
