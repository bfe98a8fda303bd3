package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	// The queue between the socket reader and the ingest goroutine. The reader
	// may serve other publishers too, so it never waits: when one of the bounds
	// is reached the publisher is dropped, with errSlow as the reason. 4096
	// packets are a second of 40 Mbit/s.
	maxQueuedPackets = 4096
	maxQueuedBytes   = 16 << 20

	// reportWait is how long the beginning of a publication is held back for
	// the first sender reports of all tracks. ffmpeg sends them in front of the
	// first packet; who sends none within this time is synchronized by arrival.
	reportWait = time.Second

	// What is held back meanwhile, at most: beyond it arrival has to do.
	maxHeldBytes = 8 << 20
	maxHeldUnits = 1024

	// startTimeout is how long an encoder may send without a key picture before
	// it is dropped: three times the longest GOP that makes any sense.
	startTimeout = 30 * time.Second

	// mediaTimeout is how long a publisher may send nothing.
	mediaTimeout = 10 * time.Second

	// maxJump is the largest difference between the steps of the RTP clock and
	// of ours from one access unit to the next. Beyond it the encoder has begun
	// a new count, and only a new publication can tell the timeline so.
	maxJump = 10 * time.Second

	// maxLatencySpread is how far the latencies of the tracks, as told by their
	// sender reports, may be apart. Beyond it the reports are taken for wrong.
	maxLatencySpread = 5 * time.Second

	// lossLogPeriod: one line about lost packets in this time at most.
	lossLogPeriod = 10 * time.Second
)

var (
	errSlow       = errors.New("the origin does not keep up with the publisher: queue full")
	errNoPicture  = fmt.Errorf("no key picture in %v: set the encoder to a key frame each second, closed GOP", startTimeout)
	errNoMedia    = fmt.Errorf("no media for %v", mediaTimeout)
	errJump       = fmt.Errorf("timestamps jumped by more than %v", maxJump)
	errReplaced   = errors.New("another publisher took over the stream")
	errDisconnect = errors.New("publisher disconnected")
)

// publication is the part of Publication that ingest needs.
type publication interface {
	Write(Unit) error
	Close()
	Done() <-chan struct{}
}

// item is a packet on its way to the ingest goroutine: one of rtp and report.
type item struct {
	track   int
	arrival time.Time
	rtp     *rtp.Packet
	report  *rtcp.SenderReport
}

func (i item) bytes() int64 {
	if i.rtp == nil {
		return 0
	}
	return int64(len(i.rtp.Payload))
}

// ingest turns the packets of one publisher into units of one publication.
//
//	socket reader ─▶ queue ─▶ depacketize ─▶ extend timestamps ─▶ hold until
//	the clocks of all tracks are known ─▶ publication
//
// enqueue may be called from several goroutines, all else belongs to run.
type ingest struct {
	logger *slog.Logger
	tracks []*ingestTrack // video first

	// publish opens the publication. It is called at the first key picture:
	// newest wins, but only once there is something to show.
	publish func([]Track) (publication, error)

	queue       chan item
	queuedBytes atomic.Int64
	ended       chan struct{} // closed when no more packets come
	drop        context.CancelCauseFunc
	dropped     context.Context

	held      []heldUnit
	heldBytes int
	begun     time.Time // arrival of the first packet
	sink      publication
	byReports bool      // how the tracks are synchronized
	zero      time.Time // the wall clock time of PTS 0, by reports or by arrival
	zeroHere  time.Time // the same, by arrival

	units      int64
	damaged    int64
	lost       int64
	lossLogged time.Time
	lossSince  int64
}

// ingestTrack is one track of an ingest.
type ingestTrack struct {
	video  bool
	clock  trackClock
	depack depacketizer

	sequence      uint16
	sequenceKnown bool

	offset   int64 // extended timestamp of PTS 0
	anchored bool

	previous        int64 // extended timestamp and arrival of the last unit
	previousArrival time.Time
	absurd          bool // its reports' wall clock was complained about
}

// heldUnit is an access unit with extended timestamp.
type heldUnit struct {
	accessUnit
	track     int
	timestamp int64
	arrival   time.Time
}

func (u heldUnit) bytes() (n int) {
	for _, p := range u.payload {
		n += len(p)
	}
	return n
}

func newIngest(tracks []*ingestTrack, publish func([]Track) (publication, error), logger *slog.Logger) *ingest {
	in := &ingest{
		logger:  logger,
		tracks:  tracks,
		publish: publish,
		queue:   make(chan item, maxQueuedPackets),
		ended:   make(chan struct{}),
	}
	in.dropped, in.drop = context.WithCancelCause(context.Background())
	return in
}

// enqueue hands over a packet without ever waiting. It returns false when the
// publisher has to be dropped since the queue is full.
func (in *ingest) enqueue(i item) bool {
	if in.queuedBytes.Add(i.bytes()) > maxQueuedBytes {
		in.drop(errSlow)
		return false
	}
	select {
	case in.queue <- i:
		return true
	default:
		in.drop(errSlow)
		return false
	}
}

// run works until the publisher is gone and the queue is empty, or until there
// is a reason to drop the publisher, which it returns. It closes the
// publication.
func (in *ingest) run() (err error) {
	defer func() {
		if in.sink != nil {
			in.sink.Close()
		}
		// The parsers of codecs and RTP payloads are other people's and have
		// panicked on odd bytes before; that ends this publisher, not the rest.
		if r := recover(); r != nil {
			err = fmt.Errorf("a parser gave up on the publisher's bytes: %v", r)
		}
	}()
	silence := time.NewTimer(mediaTimeout)
	defer silence.Stop()
	for {
		select {
		case i := <-in.queue:
			silence.Reset(mediaTimeout)
			in.queuedBytes.Add(-i.bytes())
			if err := in.take(i); err != nil {
				return err
			}
		case <-in.ended:
			return in.drain()
		case <-in.dropped.Done():
			return context.Cause(in.dropped)
		case <-in.replaced():
			return errReplaced
		case <-silence.C:
			return errNoMedia
		}
	}
}

// drain takes what is still in the queue after the publisher has gone.
func (in *ingest) drain() error {
	for {
		select {
		case i := <-in.queue:
			if err := in.take(i); err != nil {
				return err
			}
		default:
			return errDisconnect
		}
	}
}

func (in *ingest) replaced() <-chan struct{} {
	if in.sink == nil {
		return nil
	}
	return in.sink.Done()
}

func (in *ingest) take(i item) error {
	track := in.tracks[i.track]
	if i.report != nil {
		in.takeReport(track, i)
	} else if err := in.takePacket(track, i); err != nil {
		return err
	}
	return in.start(i.arrival)
}

func (in *ingest) takeReport(track *ingestTrack, i item) {
	if !track.clock.senderReport(i.report, i.arrival) && !track.absurd {
		track.absurd = true
		in.logger.Warn("the encoder's clock is off by more than a day, arrival times are used instead",
			"track", i.track, "clock", track.clock.report.wall.UTC())
	}
}

func (in *ingest) takePacket(track *ingestTrack, i item) error {
	if in.begun.IsZero() {
		in.begun = i.arrival
	}
	track.clock.packet(i.rtp.SSRC, i.rtp.Timestamp, i.arrival)
	in.countLoss(track, i)
	units, err := track.depack.depacketize(i.rtp)
	if err != nil && !errors.Is(err, errLost) {
		in.damage(i.arrival, err)
	}
	for _, unit := range units {
		held := heldUnit{accessUnit: unit, track: i.track, timestamp: track.clock.extend(unit.timestamp), arrival: i.arrival}
		if err := in.takeUnit(track, held); err != nil {
			return err
		}
	}
	return nil
}

// countLoss compares sequence numbers. The packets come in order already: over
// UDP they have been through a reordering buffer.
func (in *ingest) countLoss(track *ingestTrack, i item) {
	gap := i.rtp.SequenceNumber - track.sequence - 1
	if track.sequenceKnown && gap != 0 {
		if gap < 1<<15 { // else the encoder went back and counts anew
			in.lost += int64(gap)
			in.lossSince += int64(gap)
		}
		track.depack.lost(i.rtp)
		in.logLoss(i.arrival, nil)
	}
	track.sequence, track.sequenceKnown = i.rtp.SequenceNumber, true
}

// damage counts an access unit that could not be used.
func (in *ingest) damage(now time.Time, err error) {
	in.damaged++
	in.logLoss(now, err)
}

func (in *ingest) logLoss(now time.Time, err error) {
	if !in.lossLogged.IsZero() && now.Sub(in.lossLogged) < lossLogPeriod {
		return
	}
	in.lossLogged = now
	attributes := []any{"packets", in.lossSince, "damaged", in.damaged}
	if err != nil {
		attributes = append(attributes, "error", err)
	}
	in.lossSince = 0
	in.logger.Warn("media from the publisher is lost or damaged", attributes...)
}

func (in *ingest) takeUnit(track *ingestTrack, unit heldUnit) error {
	if err := track.checkJump(unit); err != nil {
		return err
	}
	if in.sink == nil {
		in.hold(unit)
		return nil
	}
	return in.write(unit)
}

func (t *ingestTrack) checkJump(unit heldUnit) error {
	if !t.previousArrival.IsZero() {
		step := ticksToDuration(unit.timestamp-t.previous, t.clock.clockRate)
		if (step - unit.arrival.Sub(t.previousArrival)).Abs() > maxJump {
			return errJump
		}
	}
	t.previous, t.previousArrival = unit.timestamp, unit.arrival
	return nil
}
