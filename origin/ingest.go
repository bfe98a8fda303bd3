package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

const (
	// startWait is how long the beginning of a publication is held back for
	// units of all tracks.
	startWait = time.Second

	// reportWait is how long it is held back for what ties the clocks of its
	// tracks together. ffmpeg sends RTCP sender reports in front of the first
	// packet, others after 1.0 to 3.1 s (RFC 3550, section 6.2, as GStreamer does);
	// who sends none within this time is synchronized by arrival.
	reportWait = 3200 * time.Millisecond

	// What is held back meanwhile, at most: beyond it the publication begins
	// with what there is.
	maxHeldBytes = 8 << 20
	maxHeldUnits = 1024

	// startTimeout is how long an encoder may send without a key picture before
	// it is dropped: three times the longest GOP that makes any sense.
	startTimeout = 30 * time.Second

	// mediaTimeout is how long a publisher may send nothing.
	mediaTimeout = 10 * time.Second
)

var (
	errSlow       = errors.New("the origin does not keep up with the publisher: queue full")
	errNoPicture  = fmt.Errorf("no key picture in %v: set the encoder to a key frame each second, closed GOP", startTimeout)
	errNoMedia    = fmt.Errorf("no media for %v", mediaTimeout)
	errJump       = fmt.Errorf("timestamps jumped more than %d times in %v: an encoder counts on from one picture to the next", maxJumps, jumpWindow)
	errReplaced   = errors.New("another publisher took over the stream")
	errDisconnect = errors.New("publisher disconnected")
)

// publication is the part of Publication that ingest needs.
type publication interface {
	Write(Unit) error
	Close()
	Done() <-chan struct{}
}

// ingest turns the units of one publisher, by whatever protocol, into one
// publication.
//
//	protocol ─▶ queue ─▶ shape ─▶ hold until there is a key picture and the
//	clocks of all tracks are known ─▶ publication
//
// enqueue, end and drop may be called from several goroutines, all else belongs
// to run.
type ingest struct {
	logger  *slog.Logger
	tracks  []*ingestTrack                     // in the publication's order, video first
	of      map[int]*ingestTrack               // by the index of what was announced
	tie     clockTie                           // nil: one clock
	gone    func()                             // called when run ends
	publish func([]Track) (publication, error) // opens the publication

	reception reception
	health    *health
	queue     *unitQueue
	latest    atomic.Int64  // when the latest unit came, in Unix nanoseconds
	tied      chan struct{} // holds one when the tie has learned something
	ended     chan struct{} // closed when no more units come
	endOnce   sync.Once
	endReason error // read after ended is closed
	dropped   context.Context
	dropCause context.CancelCauseFunc

	held      []heldUnit
	heldBytes int64
	begun     time.Time // arrival of the first unit
	sink      publication
	zero      time.Duration // PTS 0 on the one clock; unused with a tie
	jump      jump
	units     atomic.Int64 // published
}

// ingestTrack is one track of an ingest.
type ingestTrack struct {
	announced int
	codec     codecs.Codec // as announced
	index     int          // in the publication
	video     bool
	clockRate int64
	form      form

	seen     bool // a unit has come
	anchored bool
	offset   time.Duration // PTS 0 on the track's clock
	apart    time.Duration // what that of the first picture is ahead of it

	previous        time.Duration // pts and arrival of the last unit
	previousArrival time.Time
	followed        bool // has come past the encoder's latest jump
}

// clockTie knows how the clocks of tracks belong together that count each for
// itself, as in RTP. Tracks are called by the index of what was announced. It is
// asked from ingest's goroutine.
type clockTie interface {
	// known tells whether it knows already; after reportWait it is asked all the
	// same.
	known() bool
	// synchronize lays the common zero onto what the clock of a track shows.
	synchronize(track int, pts time.Duration)
	// offset is what a track's clock shows at the common zero. It is asked once
	// for each track, after its first unit.
	offset(track int) time.Duration
	// wallTime is when a unit was captured, zero if not known.
	wallTime(track int, pts time.Duration) time.Time
}

func newIngest(n announcement, chosen chosenEssences, publish func([]Track) (publication, error), logger *slog.Logger) *ingest {
	in := &ingest{
		logger:    logger,
		of:        make(map[int]*ingestTrack),
		tie:       n.tie,
		gone:      func() {},
		publish:   publish,
		reception: reception{logger: logger},
		queue:     newUnitQueue(),
		tied:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
	}
	for i, announced := range chosen.index {
		e := chosen.all[announced]
		track := &ingestTrack{
			announced: announced, codec: e.codec, index: i, video: e.kind == essenceVideo,
			clockRate: int64(clockRate(e.codec)), form: newForm(e.codec),
		}
		in.tracks = append(in.tracks, track)
		in.of[announced] = track
	}
	in.health = newHealth(in.tracks, n.line, in.queue, &in.reception, logger)
	in.dropped, in.dropCause = context.WithCancelCause(context.Background())
	in.latest.Store(time.Now().UnixNano())
	return in
}

// enqueue hands over a unit without ever waiting. It returns false when the
// publisher is to be disconnected; run returns the reason. Units of tracks that
// were not chosen are dropped.
func (in *ingest) enqueue(u timedUnit) bool {
	if in.of[u.track] == nil {
		return in.dropped.Err() == nil
	}
	in.latest.Store(u.arrival.UnixNano())
	if !in.queue.put(u) {
		in.drop(errSlow)
	}
	return in.dropped.Err() == nil
}

// end says that no more units come, and why; what is queued is still published.
// The first reason counts.
func (in *ingest) end(reason error) {
	in.endOnce.Do(func() {
		in.endReason = reason
		close(in.ended)
	})
}

// learned says that the clockTie may know more than before. It never waits.
func (in *ingest) learned() {
	select {
	case in.tied <- struct{}{}:
	default: // it will be asked anyway
	}
}

// drop ends the ingest at once; what is queued is lost.
func (in *ingest) drop(reason error) { in.dropCause(reason) }

// alive tells whether something came not long ago.
func (in *ingest) alive(now time.Time) bool {
	return now.Sub(time.Unix(0, in.latest.Load())) < aliveFor
}

// run works until the publisher is gone and the queue is empty, or until there
// is a reason to disconnect the publisher; it logs and returns the reason. It
// closes the publication.
func (in *ingest) run() error {
	began := time.Now()
	reason := in.work()
	in.drop(reason) // so that enqueue tells those who still send
	in.gone()
	in.logger.Info("encoder gone", append([]any{
		"reason", reason,
		"duration", time.Since(began).Round(time.Millisecond), "units", in.units.Load(),
	}, in.reception.attributes()...)...)
	return reason
}

func (in *ingest) work() (err error) {
	defer func() {
		if in.sink != nil {
			in.sink.Close()
		}
		// The parsers of codecs are other people's and have panicked on odd bytes
		// before; that ends this publisher, not the rest.
		if r := recover(); r != nil {
			err = panicError(r)
		}
	}()
	silence := time.NewTimer(mediaTimeout)
	defer silence.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case u := <-in.queue.units:
			silence.Reset(mediaTimeout)
			in.queue.took(u)
			if err := in.take(u); err != nil {
				return err
			}
		case <-in.tied:
			if err := in.start(time.Now()); err != nil {
				return err
			}
		case <-in.ended:
			return in.drain()
		case <-in.dropped.Done():
			return context.Cause(in.dropped)
		case <-in.replaced():
			return errReplaced
		case now := <-second.C:
			in.health.tick(now)
		case <-silence.C:
			return errNoMedia
		}
	}
}

func panicError(r any) error {
	return fmt.Errorf("a parser gave up on the publisher's bytes: %v", r)
}

// drain takes what is still in the queue after the publisher has gone.
func (in *ingest) drain() error {
	for {
		select {
		case u := <-in.queue.units:
			if err := in.take(u); err != nil {
				return err
			}
		default:
			return in.endReason
		}
	}
}

func (in *ingest) replaced() <-chan struct{} {
	if in.sink == nil {
		return nil
	}
	return in.sink.Done()
}

// take brings a unit into the publication, or holds it until that can begin.
func (in *ingest) take(u timedUnit) error {
	track := in.of[u.track]
	if in.begun.IsZero() {
		in.begun = u.arrival
	}
	track.seen = true
	if err := in.followJump(track, &u); err != nil {
		return err
	}
	s, err := track.form.shape(&u)
	if err != nil {
		in.reception.damage(u.arrival, err)
		return nil
	}
	in.health.unit(track, &u, s)
	if s.changed {
		if err := checkCodec(track.form.codec()); err != nil && !errors.Is(err, errUnreadable) {
			return err
		}
	}
	if len(s.payload) > 0 {
		u.payload = s.payload
		if err := in.place(heldUnit{timedUnit: u, shaped: s, track: track}); err != nil {
			return err
		}
	}
	return in.start(u.arrival)
}

func (in *ingest) place(unit heldUnit) error {
	if in.sink == nil {
		in.hold(unit)
		return nil
	}
	return in.write(unit)
}
