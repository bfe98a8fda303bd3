package relay

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// againMark is in the query of a session that begins anew after it was
// interrupted, as our player does when its relay is gone.
const againMark = "_sc_again=1"

// turnedAway returns the answer to a viewer's request that is not let in, nil
// for one that is. It is for the lanes, which no node's request enters.
func (s *server) turnedAway(t *target, r *laneRequest) *prepared {
	switch {
	case t.shed:
		return serveAnswer(0, s.sayBusy)
	case t.index == nil || r.head || s.beginsHere(t.index, t.rate, r.query):
		return nil
	}
	return serveAnswer(0, func(w http.ResponseWriter) { s.turnAway(w, r.path, r.query) })
}

// letIn tells whether a request for a multivariant playlist is answered with
// it. A GET begins a session; nodes come as they please.
func (s *server) letIn(r *http.Request, index *rendering, st *Stream) bool {
	return r.Method != http.MethodGet || s.fromNode(r) || s.beginsHere(index, st.sessionRate(), r.URL.RawQuery)
}

// beginsHere tells whether a session may begin with this multivariant playlist.
// One that leads to another relay is nothing that this one will have to send.
func (s *server) beginsHere(index *rendering, rate int64, query string) bool {
	again := strings.Contains(query, againMark)
	if index.leads == "" {
		return s.Admission.admit(rate, again)
	}
	if !s.Admission.passOn(rate, again) {
		return false
	}
	s.Steering.Led(index.leads, rate)
	return true
}

// turnAway sends a new session to another relay, once; one that was sent here
// already, or for which there is none, is told to come again.
func (s *server) turnAway(w http.ResponseWriter, path, query string) {
	if s.Elsewhere != nil && !strings.Contains(query, sentMark) {
		if base := s.Elsewhere(); base != "" {
			s.Admission.sentOn.Add(1)
			s.sendOn(w, base+path, query)
			return
		}
	}
	s.Admission.refused.Add(1)
	sayComeAgain(w, "this relay is full, try again")
}

// sayBusy refuses what a viewer asks of a rendition.
func (s *server) sayBusy(w http.ResponseWriter) {
	s.Admission.shed.Add(1)
	sayComeAgain(w, "this relay is too busy for this, try again or take less")
}

// sayComeAgain answers 503. Those who are turned away together do not come
// again together.
func sayComeAgain(w http.ResponseWriter, sentence string) {
	w.Header().Set("Retry-After", strconv.Itoa(2+rand.IntN(4)))
	say(w, http.StatusServiceUnavailable, noStore, sentence)
}

// sheds tells whether a viewer's request for a rendition, a list or media, is
// refused at this moment.
func (s *server) sheds(st *Stream, rendition string, list bool) bool {
	if s.Admission == nil || s.Admission.shedding.Load() == 0 {
		return false
	}
	rung, rungs := st.rung(rendition)
	return s.Admission.sheds(rung, rungs, list)
}
