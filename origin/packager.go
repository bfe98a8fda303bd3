package origin

import (
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/relay"
)

// packager turns the units of one publication into parts and segments of its
// stream's timeline. The leading track, the video if there is one, sets the
// boundaries; sound is muxed in. One caller at a time.
//
//	Unit ─▶ segmenter ─▶ piece ┐
//	Unit ─▶ audioQueue ────────┴▶ moof, mdat ─▶ timeline
//
// It begins a new run, at a random access unit, with the publication, when
// parameter sets change and when timestamps jump.
type packager struct {
	timeline *timeline
	tracks   map[int]Track // by id; what the stream declared
	lead     int           // id of the leading track
	index    map[int]int   // from the unit's track to an id; others are dropped
	cutting  cutting
	maxJump  int64 // ticks between two frames that break the run

	run   *run // nil while a random access unit is awaited
	audio audioQueue

	// closed is called for each segment that was closed, after it was published.
	closed func(closedSegment)
	ready  []closedSegment // to be told after publish
	bytes  int             // in the open segment
	frames int             // in the open segment
}

// newPackager returns a packager of these tracks, by id, one at least; index
// maps the publication's track numbers to ids.
func newPackager(t *timeline, c relay.Constants, tracks map[int]Track, index map[int]int) *packager {
	p := &packager{timeline: t, tracks: tracks, index: index, lead: audioID}
	if _, ok := tracks[videoID]; ok {
		p.lead = videoID
	}
	rate := tracks[p.lead].ClockRate
	p.cutting = newCutting(c, rate, p.lead == videoID)
	p.maxJump = int64(c.TargetDuration) * int64(rate) / int64(time.Second)
	p.audio = audioQueue{codec: tracks[audioID].Codec, rate: tracks[audioID].ClockRate}
	return p
}

// run is media with unbroken timestamps.
type run struct {
	segmenter *segmenter
	first     frame // in media time
	shift     int64 // from the unit's DTS to media time
	last      int64 // media time of the latest frame pushed
}

// closedSegment is what the multivariant playlist is made from.
type closedSegment struct {
	bytes    int
	frames   int // of the leading track
	duration time.Duration
}

// write takes a unit and publishes what it completes.
func (p *packager) write(u Unit) error {
	id, ok := p.index[u.Track]
	switch {
	case !ok || len(u.Payload) == 0 || len(u.Payload[0]) == 0:
		return nil
	case id != p.lead:
		p.audio.push(u)
		return nil
	}
	if err := p.follow(u); err != nil {
		return err
	}
	f, err := p.frame(u)
	if err != nil {
		return err
	}
	if p.run == nil || len(f.payload) == 0 {
		return nil
	}
	return p.emit(p.run.segmenter.push(f))
}

// follow ends and begins runs as the unit of the leading track demands.
func (p *packager) follow(u Unit) error {
	codec, changed := p.tracks[p.lead].Codec, false
	if u.Random {
		codec, changed = p.parameters(u)
	}
	if p.run != nil && (changed || p.jumps(u.DTS+p.run.shift)) {
		if err := p.seal(); err != nil {
			return err
		}
	}
	if p.run != nil || !u.Random {
		return nil
	}
	if _, err := describe(codec); err != nil {
		return fmt.Errorf("%w: %w", ErrCodecUnusable, err)
	}
	p.tracks[p.lead] = Track{Codec: codec, ClockRate: p.tracks[p.lead].ClockRate}
	return p.begin(u)
}

// parameters returns the leading codec as of the random access unit u, and
// whether that differs from the init segment. Parameter sets that can't be read
// are taken for damaged ones: the old stay in force.
func (p *packager) parameters(u Unit) (codecs.Codec, bool) {
	old := p.tracks[p.lead].Codec
	codec, changed := withParameters(old, u.Payload)
	if _, err := describe(codec); err != nil {
		return old, false
	}
	return codec, changed
}

// jumps tells whether at can't follow what came before. A frame that repeats a
// time or goes back by less than a part is only moved (see frame).
func (p *packager) jumps(at int64) bool {
	step := at - p.run.last
	return step > p.maxJump || step < -p.cutting.partMax
}

// begin starts a run with the random access unit u, at the media time that the
// run before came to.
func (p *packager) begin(u Unit) error {
	init, err := initSegment(p.tracks)
	if err != nil {
		return err
	}
	lead := p.tracks[p.lead]
	start := p.timeline.nextStart(lead.ClockRate)
	shift := start - u.DTS
	p.run = &run{segmenter: newSegmenter(p.cutting), shift: shift, last: start - 1}
	p.run.first = frame{dts: start, offset: u.PTS - u.DTS}
	if audio, ok := p.tracks[audioID]; ok && p.lead != audioID {
		first := rescale(start+p.run.first.offset, lead.ClockRate, audio.ClockRate)
		p.audio.begin(rescale(shift, lead.ClockRate, audio.ClockRate), first)
	}
	p.timeline.beginRun(init, lead.ClockRate, u.WallTime)
	return nil
}

// frame returns the unit as a frame in media time.
func (p *packager) frame(u Unit) (frame, error) {
	if p.run == nil {
		return frame{}, nil
	}
	f := frame{dts: u.DTS + p.run.shift, wall: u.WallTime, random: u.Random, payload: u.Payload[0]}
	if p.lead == videoID {
		var err error
		if f.payload, err = pictureBytes(u.Payload, initParameters(p.tracks[videoID].Codec)); err != nil {
			return frame{}, err
		}
	}
	// Decode time must grow; when it does not, the encoder is at fault, and a
	// tick is the least harm.
	f.offset = u.PTS + p.run.shift - f.dts
	if f.dts <= p.run.last {
		f.offset -= p.run.last + 1 - f.dts
		f.dts = p.run.last + 1
	}
	if len(f.payload) > 0 {
		p.run.last = f.dts
	}
	return f, nil
}

// emit adds the pieces to the timeline and publishes them at once: the last
// part of a segment and the segment are one piece of news.
func (p *packager) emit(pieces []piece) error {
	for i := range pieces {
		if err := p.add(&pieces[i]); err != nil {
			return err
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	err := p.timeline.publish()
	for _, s := range p.ready {
		if err == nil {
			p.closed(s)
		}
	}
	p.ready = p.ready[:0]
	return err
}

func (p *packager) add(piece *piece) error {
	t, first := p.timeline, &piece.frames[0]
	rate := p.tracks[p.lead].ClockRate
	if piece.first {
		t.openSegment(p.date(first))
	}
	last := &piece.frames[len(piece.frames)-1]
	end := last.dts + last.duration
	tracks := map[int][]frame{p.lead: piece.frames}
	t.reach(ticksDuration(end, rate))
	if audio, ok := p.tracks[audioID]; ok && p.lead != audioID {
		until := rescale(end+p.run.first.offset, rate, audio.ClockRate)
		tracks[audioID] = p.audio.take(until)
		t.reach(ticksDuration(p.audio.next, audio.ClockRate))
	}
	t.fragments++
	body, err := partBytes(t.fragments, tracks)
	if err != nil {
		return err
	}
	t.addPart(body, piece.duration, piece.independent())
	p.bytes += len(body)
	p.frames += len(piece.frames)
	if piece.last {
		p.ready = append(p.ready, closedSegment{bytes: p.bytes, frames: p.frames, duration: t.closeSegment()})
		p.bytes, p.frames = 0, 0
	}
	return nil
}

// date returns when a segment that begins with f is first shown, after the run's
// first frame, and the wall time of that. A key frame is the first one shown of
// its segment; after a forced cut it need not be the first one decoded, and the
// delay between both that the run began with is taken.
func (p *packager) date(f *frame) (start time.Duration, wall time.Time) {
	rate := p.tracks[p.lead].ClockRate
	decoded, delayed := f.dts-p.run.first.dts, f.offset-p.run.first.offset
	if f.random {
		return ticksDuration(decoded+delayed, rate), f.wall
	}
	return ticksDuration(decoded, rate), f.wall.Add(-ticksDuration(delayed, rate))
}

// seal ends the run: what is pending is published and the segment closed.
func (p *packager) seal() error {
	if p.run == nil {
		return nil
	}
	lead := p.tracks[p.lead]
	nominal := int64(lead.ClockRate) / 25 // of a run of one picture
	if p.lead == audioID {
		nominal = frameTicks(lead.Codec, lead.ClockRate, nil)
	}
	err := p.emit(p.run.segmenter.seal(nominal))
	p.run = nil
	p.audio.clear()
	return err
}

// describe returns what the multivariant playlist says of the tracks, the
// leading one first. It is complete once a run has begun.
func (p *packager) describe() []trackDescription {
	var all []trackDescription
	for _, id := range []int{videoID, audioID} {
		if t, ok := p.tracks[id]; ok {
			if d, err := describe(t.Codec); err == nil {
				all = append(all, d)
			}
		}
	}
	return all
}

func ticksDuration(ticks int64, rate int) time.Duration {
	return time.Duration(rescale(ticks, rate, int(time.Second)))
}
