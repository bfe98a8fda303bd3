package relay

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
)

// A viewer asks again after leastTTL to mostTTL seconds: by chance, so that
// those who began together do not come together.
const (
	leastTTL = 5
	mostTTL  = 10
)

// manifest is the answer of a steering server, draft-pantos-hls-rfc8216bis 7.1.
type manifest struct {
	Version  int      `json:"VERSION"`
	TTL      int      `json:"TTL"` // seconds
	Reload   string   `json:"RELOAD-URI,omitempty"`
	Priority []string `json:"PATHWAY-PRIORITY"`
}

// manifest returns the steering manifest of a stream for who asks with this
// query. Error: ErrUnavailable, when there is nobody to name.
func (s *Steering) manifest(st *Stream, query string) ([]byte, error) {
	on, known := steeringQuery(query)
	pathways := s.Priority(on, known, st.sessionRate())
	if len(pathways) == 0 {
		return nil, ErrUnavailable
	}
	m := manifest{Version: 1, TTL: leastTTL + rand.IntN(mostTTL-leastTTL+1)}
	for _, p := range pathways[:min(len(pathways), maxPathways)] {
		m.Priority = append(m.Priority, p.ID)
	}
	if s.Server == "" {
		// The next manifest comes from where the media come from, so that it
		// comes at all when this relay is gone.
		m.Reload = pathways[0].Base + manifestPath(st.Name, known)
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and strings
	}
	return append(text, '\n'), nil
}

// steeringQuery reads what a viewer says of itself: the pathway that it is on,
// and those that it knows. What can't be read says nothing, for an error would
// not help anybody to play; what is none of a pathway's name is dropped.
func steeringQuery(query string) (on string, known []string) {
	if len(query) > maxQueryBytes {
		return "", nil
	}
	values, _ := url.ParseQuery(query)
	// A player may put it in quotes, as all strings of the protocol.
	if on = strings.Trim(values.Get("_HLS_pathway"), `"`); !validLabel(on) {
		on = ""
	}
	for id := range strings.SplitSeq(values.Get(knownKey), ".") {
		if validLabel(id) && len(known) < maxPathways {
			known = append(known, id)
		}
	}
	return on, known
}

var typeSteering = []string{"application/vnd.apple.steering-list"}

// describeManifest sets what a manifest's answer says of it.
func describeManifest(h http.Header) {
	h["Content-Type"] = typeSteering
	h["Cache-Control"] = noStore
}

// steer answers /steering/{stream}. It never says 410 or 429, on which players
// give steering up for the session.
func (s *server) steer(w http.ResponseWriter, r *http.Request, stream string) {
	st := s.Store.Stream(stream)
	if s.Steering == nil || st == nil {
		s.fail(w, r, ErrNotFound, brief)
		return
	}
	text, err := s.Steering.manifest(st, r.URL.RawQuery)
	if err != nil {
		s.fail(w, r, err, noStore)
		return
	}
	describeManifest(w.Header())
	setWriteDeadline(w, len(text))
	n, _ := w.Write(text) // an error means that the viewer left
	s.Load.Add(int64(n), 0)
}
