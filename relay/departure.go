package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ErrLeaving is the error of what a node does not answer any more.
var ErrLeaving = errors.New("this node leaves the pool")

// Stage is how far a node is on its way out.
type Stage int32

// The stages of a departure, in their order.
const (
	// Staying: no departure.
	Staying Stage = iota
	// Draining: new sessions are sent elsewhere where there is another relay;
	// who asks for the multivariant playlist is asked to connect anew.
	Draining
	// Retiring: the connections that there are at this moment end, each with its
	// next answer, so that who comes again looks its name up again. Later ones
	// stay: its name may still lead here.
	Retiring
	// Parting: lists are answered with 503, so that players go elsewhere while
	// media are still served from here. It is to be the shortest stage.
	Parting
)

// Departure tells the servers of a node in which stage it is. The zero value
// stays, and so does a nil one.
type Departure struct {
	stage atomic.Int32

	mu      sync.Mutex
	changed chan struct{} // closed at the next stage; nil while nobody waits
	retired time.Time     // when the newest Retiring or Parting began; zero: never
}

// Enter begins a stage. A node that is not to leave after all enters Staying;
// the connections that were told to end do so nevertheless.
func (d *Departure) Enter(s Stage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stage.Store(int32(s))
	if s >= Retiring {
		d.retired = time.Now()
	}
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// Stage returns the stage of this moment.
func (d *Departure) Stage() Stage {
	if d == nil {
		return Staying
	}
	return Stage(d.stage.Load())
}

// next returns a channel that is closed at the next stage; nil for a node that
// never leaves.
func (d *Departure) next() <-chan struct{} {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.changed
}

// ends tells whether a connection of that age is to end with its next answer.
func (d *Departure) ends(born time.Time) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return born.Before(d.retired)
}

// bornKey is where a request's context has the moment at which its connection
// came to net/http.
type bornKey struct{}

func noteBirth(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, bornKey{}, time.Now())
}

// part ends the connection of a request with its answer, if it is to end. Over
// HTTP/2 net/http then says GOAWAY, and answers what was asked before.
func (s *server) part(w http.ResponseWriter, r *http.Request) {
	if born, ok := r.Context().Value(bornKey{}).(time.Time); ok && s.Departure.ends(born) {
		w.Header()["Connection"] = connectionClose
	}
}

var connectionClose = []string{"close"}
