package relay

import (
	"strings"
	"sync"
	"time"
)

// SteeringConfig says which relays viewers are told of. Its functions are
// called from any goroutine and must not block.
type SteeringConfig struct {
	// Orders returns the pathways of multivariant playlists in a few orders, in
	// each of them the best first; viewers get them in turn. None, or one
	// pathway alone: the playlists go out as the origin wrote them. Nil means
	// none.
	Orders func() [][]Pathway
	// Here returns the pathway of this relay, "" when it is none.
	Here func() string
	// Led is told of each viewer whose multivariant playlist begins with the
	// pathway of another relay, and of what the session is said to need.
	Led func(pathway string, bitsPerSecond int64)
	// Priority returns the pathways for a viewer that knows those of these ids
	// and is on one of them, "" when that is not known; the best first, at least
	// two where there are. Its session is said to need so much.
	Priority func(on string, known []string, bitsPerSecond int64) []Pathway
	// Server is the base URL under which any relay answers for the manifest,
	// such as that of the zone's name. "": there is none, and each viewer asks
	// the relay that it is sent to.
	Server string
}

// Steering tells viewers which relays there are, in what order: in the
// multivariant playlist, and by HLS content steering while they play.
type Steering struct {
	SteeringConfig

	mu     sync.Mutex
	drawn  time.Time // when orders were
	here   string    // then
	orders [][]Pathway
	lists  map[string]*steeredList // by stream, in these orders; at most one for each stream of the store
}

// steeredList is a multivariant playlist in the orders of now.
type steeredList struct {
	of     *rendering // as the origin wrote it
	ladder *ladder
	made   []*rendering // by order; nil until it is its turn
	turn   int
}

// NewSteering returns what tells viewers of other relays.
func NewSteering(c SteeringConfig) *Steering { return &Steering{SteeringConfig: c} }

// ordersAge is how long orders are kept. What they follow from changes all the
// time: members, their loads and those that this node brings about, the verdicts
// of probers. A second of it harms nobody, and under a crowd each order is made
// for many.
const ordersAge = time.Second

// steered returns the multivariant playlist of a stream as the next viewer gets
// it. With an access prefix it is made for this viewer alone, and is of no use
// to caches.
func (s *Steering) steered(stream string, plain *rendering, prefix string) *rendering {
	if s == nil || s.Orders == nil || plain == nil {
		return plain
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	if len(s.orders) == 0 {
		return plain
	}
	l := s.list(stream, plain)
	if l.ladder == nil {
		return plain
	}
	order := s.orders[l.turn]
	i := l.turn
	l.turn = (l.turn + 1) % len(s.orders)
	if prefix != "" {
		own := s.render(l.ladder, stream, order, prefix)
		own.private = true
		return own
	}
	if l.made[i] == nil {
		l.made[i] = s.render(l.ladder, stream, order, "")
	}
	return l.made[i]
}

// render needs s.mu.
func (s *Steering) render(l *ladder, stream string, order []Pathway, prefix string) *rendering {
	r := newRendering(l.on(order, s.manifestURI(stream, order), prefix))
	if order[0].ID != s.here {
		r.leads = order[0].ID
	}
	return r
}

// refresh draws orders anew when they are a second old.
func (s *Steering) refresh() {
	if !s.drawn.IsZero() && time.Since(s.drawn) < ordersAge {
		return
	}
	s.drawn, s.here = time.Now(), s.Here()
	s.orders = s.orders[:0]
	s.lists = map[string]*steeredList{}
	for _, order := range s.Orders() {
		if len(order) > 1 {
			s.orders = append(s.orders, order[:min(len(order), maxPathways)])
		}
	}
}

func (s *Steering) list(stream string, plain *rendering) *steeredList {
	l := s.lists[stream]
	if l == nil || l.of != plain {
		// Without a ladder, which no origin gives cause for, it goes out plain.
		ladder, _ := newLadder(plain.text, stream)
		l = &steeredList{of: plain, ladder: ladder, made: make([]*rendering, len(s.orders))}
		s.lists[stream] = l
	}
	return l
}

// knownKey is the query parameter in which a manifest's URI carries the
// pathways of the playlist that it stood in. In a large pool each viewer knows
// a few relays only, and a player does not leave a dead one for a pathway that
// the manifest does not name.
const knownKey = "_sc_pathways"

// manifestURI is where a viewer with these pathways asks for the manifest,
// relative to the multivariant playlist's host unless there is a better one.
func (s *Steering) manifestURI(stream string, pathways []Pathway) string {
	ids := make([]string, len(pathways))
	for i, p := range pathways {
		ids[i] = p.ID
	}
	return s.Server + manifestPath(stream, ids)
}

func manifestPath(stream string, known []string) string {
	path := "/steering/" + stream
	if len(known) > 0 {
		path += "?" + knownKey + "=" + strings.Join(known, ".")
	}
	return path
}
