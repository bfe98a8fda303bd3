package relay

import (
	"net/http"
	"strings"
	"time"
)

// feeds tells whether a node that asks for a live list gets it; it is asked
// before the list is waited for. Whoever names no node is no child: probes and
// tools.
func (s *server) feeds(w http.ResponseWriter, r *http.Request, window *Window, d directives) bool {
	node, look, ok := parseNode(r.Header.Get(nodeHeader))
	if !ok || window.Version() == nil { // there is nothing to be had yet
		return true
	}
	if !look && s.Slots.circular(node) {
		s.refuse(w, http.StatusLoopDetected, "this node asks the one that asks")
		return false
	}
	granted, referral := s.Slots.take(slotWish{node: node, look: look, goes: d.block, held: window.constants.maxHold()})
	if !granted {
		s.refuseSlot(w, referral)
	}
	return granted
}

// trace tells a node which way a list came.
func (s *server) trace(h http.Header, v *Version) {
	h.Set(chainHeader, v.chain.with(s.Slots.Self()).String())
}

// spares tells whether a media object goes to who asks.
func (s *server) spares(w http.ResponseWriter, r *http.Request, window *Window, name MediaName) bool {
	node, _, ok := parseNode(r.Header.Get(nodeHeader))
	if s.Slots == nil || !ok || s.Slots.fallback(node, window.constants.media(name)) {
		return true
	}
	s.refuseSlot(w, nil)
	return false
}

// refuseSlot sends a node to those who have room.
func (s *server) refuseSlot(w http.ResponseWriter, referral []string) {
	if len(referral) > 0 {
		w.Header().Set(referralHeader, strings.Join(referral, ", "))
	}
	s.refuse(w, http.StatusServiceUnavailable, "all slots for other nodes are taken")
}

// media is about how much media an object has.
func (c Constants) media(name MediaName) time.Duration {
	switch name.Kind {
	case PartMedia:
		return c.PartTarget
	case SegmentMedia:
		return c.TargetDuration
	}
	return 0
}
