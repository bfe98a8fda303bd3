package origin

import (
	"sync/atomic"
	"time"
)

const (
	// The queue between whoever reads the socket and the ingest. The reader may
	// serve other publishers too, so it never waits: when one of the bounds is
	// reached the publisher is dropped, with errSlow as the reason. 16 MiB are
	// three seconds of 40 Mbit/s; units are as many as pictures and audio frames
	// of ten seconds.
	maxQueuedUnits = 2048
	maxQueuedBytes = 16 << 20
)

// timedUnit is one access unit as a protocol delivers it: the NAL units of one
// picture, without start codes or lengths, or one audio frame.
type timedUnit struct {
	// track is the index into what was announced.
	track int

	// pts and dts are on the encoder's clock: one for all tracks, unless a
	// clockTie says otherwise. Without dtsKnown the decoding time is found in
	// the pictures.
	pts, dts time.Duration
	dtsKnown bool

	// wall is when it was captured, by the encoder's clock; zero if not told.
	wall time.Time

	// arrival is when its last byte came.
	arrival time.Time

	// afterLoss: media of the track right before it may be missing.
	afterLoss bool

	payload [][]byte
}

func (u timedUnit) bytes() (n int64) {
	for _, p := range u.payload {
		n += int64(len(p))
	}
	return n
}

// unitQueue is bounded in units and in bytes. Several goroutines may put, one
// takes.
type unitQueue struct {
	units chan timedUnit
	bytes atomic.Int64
}

func newUnitQueue() *unitQueue { return &unitQueue{units: make(chan timedUnit, maxQueuedUnits)} }

// put returns false when the queue is full.
func (q *unitQueue) put(u timedUnit) bool {
	if q.bytes.Add(u.bytes()) > maxQueuedBytes {
		return false
	}
	select {
	case q.units <- u:
		return true
	default:
		return false
	}
}

// took is called with each unit that was received from units.
func (q *unitQueue) took(u timedUnit) { q.bytes.Add(-u.bytes()) }
