package origin

import (
	"log/slog"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/relay"
)

const (
	// rungPatience is how far a rung may be behind the lead, in part targets: its
	// encoder takes time of its own. Beyond it the rest of the segment is a gap.
	rungPatience = 6

	// maxRungPictures and maxRungBytes bound what waits for the lead, some
	// 10 s. Beyond it the oldest are dropped, and the rung begins anew with a key
	// picture.
	maxRungPictures = 600
	maxRungBytes    = 32 << 20

	// maxUnaligned is at how many boundaries in a row a rung may lack a key
	// picture. Players that change to it can't show anything before one, so it
	// is then a gap until it is aligned.
	maxUnaligned = 3
)

// rung makes a rendition of pictures beside the leading one, from a publication
// of its own. Its time is laid onto the lead's by their key pictures; it begins,
// and begins again after a gap, with a key picture at the start of a segment.
type rung struct {
	follower
	picture *picture
	logger  *slog.Logger
	keys    *keyPictures // of the lead's run; nil between two
	scale   int          // ticks a second of the lead

	// Of the publication; codec is nil while there is none.
	codec       codecs.Codec
	unitRate    int
	tied        bool
	queue       []Unit // in the order of decoding
	queuedBytes int
	locked      bool
	shift       int64 // from the unit's DTS to media time, once locked
	last        int64 // decoding time of the latest frame taken
	maxStep     int64
	unaligned   int  // boundaries without a key picture, in a row
	warned      bool // of those
}

func newRung(p *picture, c relay.Constants, scale int, logger *slog.Logger) *rung {
	r := &rung{picture: p, scale: scale, logger: logger.With("rung", p.timeline.rendition)}
	r.follower = follower{
		source: r, timeline: p.timeline, meter: &p.meter, id: videoID, rate: videoClockRate,
		segmenter: newFollowerSegmenter(c, videoClockRate), exact: true, gone: true, lost: true, report: p.closed,
	}
	r.patience = rungPatience * r.segmenter.partMax
	r.maxStep = int64(c.TargetDuration.Seconds() * videoClockRate)
	return r
}

// join gives the rung a publication, whose frames come by push.
func (r *rung) join(track Track, tied bool) {
	r.codec, r.unitRate, r.tied = track.Codec, track.ClockRate, tied
	r.queue, r.queuedBytes, r.locked, r.gone, r.unaligned, r.warned = nil, 0, false, false, 0, false
}

// leave takes it away; what is queued is still published.
func (r *rung) leave() { r.gone = true }

// begin starts a run with the lead, whose first picture is shown at start.
func (r *rung) begin(keys *keyPictures, start int64) {
	r.keys, r.locked, r.next, r.lost = keys, false, start, true
	r.timeline.beginSideRun(r.timeline.initBytes, r.rate)
}

// push queues a picture.
func (r *rung) push(u Unit) {
	u.PTS, u.DTS = rescale(u.PTS, r.unitRate, r.rate), rescale(u.DTS, r.unitRate, r.rate)
	for _, nalu := range u.Payload {
		r.queuedBytes += len(nalu)
	}
	r.queue = append(r.queue, u)
	for len(r.queue) > maxRungPictures || r.queuedBytes > maxRungBytes {
		r.drop()
		r.locked = false // what follows has no key picture before it
	}
}

// drop takes the first picture from the queue.
func (r *rung) drop() {
	for _, nalu := range r.queue[0].Payload {
		r.queuedBytes -= len(nalu)
	}
	r.queue[0] = Unit{}
	r.queue = r.queue[1:]
}

// take moves the pictures that belong to the first segment that is due into
// parts, as far as limit.
func (r *rung) take(limit int64) (waiting bool, err error) {
	defer func() { r.hopes = r.lost && !r.opened && !r.gone }()
	for len(r.queue) > 0 {
		u := &r.queue[0]
		what := r.judge(u, limit)
		if what == takePicture {
			err := r.accept(u)
			if err != nil {
				return false, err
			}
			what = dropPicture
		}
		switch what {
		case keepPicture:
			return true, nil
		case awaitLead:
			return false, nil
		case dropPicture:
			r.drop()
		case beginAnew:
			r.lost, r.locked = true, false
		}
	}
	r.lost = r.lost || r.gone
	return false, nil
}

// What to do with the first picture of the queue.
type pictureFate int

const (
	takePicture pictureFate = iota
	dropPicture
	keepPicture // it is for later
	awaitLead   // the lead has not come so far as to tell
	beginAnew   // the rung is broken; judge again
)

func (r *rung) judge(u *Unit, limit int64) pictureFate {
	if r.lost {
		return r.judgeFirst(u, limit)
	}
	segment, at := &r.due[0], u.DTS+r.shift+r.delay
	if u.Random { // the delay from decoding to showing may be another from here on
		at = u.PTS + r.shift
	}
	first := !r.opened && r.segmenter.pending == nil
	switch {
	case at >= min(limit, segment.end-r.tolerance()):
		if segment.end != forever {
			r.until = u.DTS + r.shift
			r.lost = r.lost || first // nothing of it is in this segment
		}
		return keepPicture
	case at-r.next > r.maxStep, at < r.next-r.usual-r.segmenter.partMax:
		return beginAnew // its timestamps have jumped
	case first:
		return r.judgeBoundary(u, at)
	case u.Random && r.changed(u):
		return beginAnew // other parameters, and no boundary
	}
	return takePicture
}

// judgeFirst looks for a key picture to begin with: at the start of the segment,
// which has nothing yet.
func (r *rung) judgeFirst(u *Unit, limit int64) pictureFate {
	if !u.Random {
		return dropPicture
	}
	if !r.locked {
		at, v := r.match(u)
		switch v {
		case earlyKey:
			return awaitLead
		case unknownKey:
			r.missed()
			return dropPicture
		}
		r.locked, r.shift = true, rescale(at, r.scale, r.rate)-u.PTS
		r.picture.count.by = v
		r.logger.Info("rung aligned with the lead", "by", v.String())
	}
	segment, at := &r.due[0], u.PTS+r.shift
	switch begins := at <= segment.start+r.tolerance(); {
	case at < segment.start-r.tolerance(), begins && r.opened:
		return dropPicture
	case at >= min(limit, segment.end-r.tolerance()):
		return keepPicture
	case !begins:
		return dropPicture
	}
	if !r.begins(u) {
		return dropPicture
	}
	r.lost, r.delay, r.usual, r.unaligned = false, u.PTS-u.DTS, 0, 0
	r.picture.count.hit()
	r.shift += segment.start - at
	r.last = u.DTS + r.shift - 1
	return takePicture
}

// match finds the key picture of the lead that one of the rung goes with, and
// notes how far apart they are.
func (r *rung) match(u *Unit) (at int64, v verdict) {
	at, apart, v := r.keys.match(u, r.tied)
	if v != earlyKey {
		r.picture.count.offset, r.picture.count.measured = apart, true
	}
	return at, v
}

// judgeBoundary sees that a segment begins with a key picture, where the lead's
// does. What clocks drift from one to the next is taken back there.
func (r *rung) judgeBoundary(u *Unit, at int64) pictureFate {
	segment := &r.due[0]
	if u.Random && (at-segment.start) <= r.tolerance() && (segment.start-at) <= r.tolerance() {
		if r.changed(u) && !r.begins(u) {
			return beginAnew
		}
		r.unaligned, r.delay = 0, u.PTS-u.DTS
		r.picture.count.hit()
		r.shift += segment.start - at
		return takePicture
	}
	if segment.random {
		r.missed()
	}
	if r.unaligned >= maxUnaligned || u.Random && r.changed(u) {
		return beginAnew
	}
	return takePicture
}

// tolerance is how far a key picture may be from a boundary to be at it.
func (r *rung) tolerance() int64 {
	if r.usual == 0 {
		return videoClockRate / 200
	}
	return r.usual / 2
}

// missed counts a boundary, or a key picture, that has no counterpart.
func (r *rung) missed() {
	r.picture.count.miss(time.Now())
	if r.unaligned++; r.unaligned == maxUnaligned && !r.warned {
		r.warned = true
		r.logger.Warn("rung is not aligned: its key frames are not where those of the lead are; " +
			"let one encoder make all rungs, with the same frame rate, the same fixed distance of key frames, closed GOPs and no key frames at scene cuts")
	}
}

// changed tells whether a key picture brings other parameters.
func (r *rung) changed(u *Unit) bool {
	codec, changed := withParameters(r.codec, u.Payload)
	_, err := describe(codec)
	return changed && err == nil // unreadable ones are damaged
}

// begins makes the init segment for what begins with a key picture; false when
// its parameters can't be read.
func (r *rung) begins(u *Unit) bool {
	codec, _ := withParameters(r.codec, u.Payload)
	description, err := describe(codec)
	if err != nil {
		return false
	}
	init, err := initSegment(map[int]Track{videoID: {Codec: codec, ClockRate: r.rate}})
	if err != nil {
		return false
	}
	r.codec, r.picture.description = codec, description
	r.timeline.setInit(init)
	return true
}

// accept pushes a picture. Decode time must grow, as in packager.frame.
func (r *rung) accept(u *Unit) error {
	if u.Random {
		r.match(u)
	}
	payload, err := pictureBytes(r.codec, u.Payload)
	if err != nil || len(payload) == 0 {
		return nil //nolint:nilerr // a damaged picture is left out
	}
	f := frame{dts: u.DTS + r.shift, wall: u.WallTime, random: u.Random, payload: payload}
	f.offset = u.PTS + r.shift - f.dts
	if f.dts <= r.last {
		f.offset -= r.last + 1 - f.dts
		f.dts = r.last + 1
	}
	if step := f.dts - r.last; r.opened || r.segmenter.pending != nil {
		r.usual = min(step, r.segmenter.partMax)
	}
	r.last = f.dts
	r.next = f.dts + r.delay + r.usual
	return r.emit(r.segmenter.push(f))
}
