package relay

import (
	"net/http"
	"strings"
)

// sentMark is in the query of a request that was sent on once: such a request
// is not sent on again.
const sentMark = "_sc_sent=1"

// index answers with a multivariant playlist: the only place where a new
// session begins, hence the only one that sends viewers elsewhere.
func (s *server) index(w http.ResponseWriter, r *http.Request, prefix, name, file string) {
	if s.Departure.Stage() >= Draining {
		w.Header()["Connection"] = connectionClose // a lane's HTTP/2 takes it as net/http's does
	}
	if !s.begins() && !s.fromNode(r) {
		if base := s.elsewhere(r); base != "" {
			s.sendOn(w, base+prefix+"/"+name+"/"+file, r.URL.RawQuery)
			return
		}
		if s.NodesOnly {
			s.refuse(w, http.StatusServiceUnavailable, "there is no relay yet, try again")
			return
		}
	}
	if s.Departure.Stage() == Parting {
		s.fail(w, r, ErrLeaving, nil)
		return
	}
	st := s.Store.Stream(name)
	if st == nil {
		s.fail(w, r, ErrNotFound, brief)
		return
	}
	index := st.indexRendering()
	switch {
	case file == longListName:
		index = st.longIndexRendering()
	case !s.fromNode(r): // a child relay wants it as it came
		index = s.Steering.steered(st.Name, index, prefix)
	}
	if index == nil {
		s.fail(w, r, ErrNotFound, st.caching.refused)
		return
	}
	if !s.letIn(r, index, st) {
		s.turnAway(w, prefix+"/"+name+"/"+file, r.URL.RawQuery)
		return
	}
	s.sendList(w, r, index, st.caching.list)
}

// begins tells whether any session may begin here.
func (s *server) begins() bool {
	return s.Redirect == nil && !s.NodesOnly && s.Departure.Stage() == Staying
}

// elsewhere is the base URL of the node that a new session is sent to, or "".
func (s *server) elsewhere(r *http.Request) string {
	where := s.Redirect
	if s.Departure.Stage() >= Draining && s.Elsewhere != nil {
		where = s.Elsewhere
	}
	if where == nil || strings.Contains(r.URL.RawQuery, sentMark) {
		return ""
	}
	return where()
}

// sendOn sends a new session to another node, its query kept.
func (s *server) sendOn(w http.ResponseWriter, url, query string) {
	if query != "" {
		query += "&"
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	h.Set("Location", url+"?"+query+sentMark)
	setWriteDeadline(w, 0)
	w.WriteHeader(http.StatusTemporaryRedirect)
}
