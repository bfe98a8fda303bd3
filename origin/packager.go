package origin

import (
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/relay"
)

// packager turns the units of one publication into parts and segments of its
// stream's timelines. The leading track, the video if there is one, sets the
// boundaries; sound is muxed in, or is in renditions of its own. One caller at
// a time.
//
//	Unit ─▶ segmenter ─▶ piece ┐
//	Unit ─▶ audioQueue ────────┴▶ moof, mdat ─▶ timeline
//	Unit ─▶ sound ──────────────▶ moof, mdat ─▶ its timeline
//
// It begins a new run, at a random access unit, with the publication, when
// parameter sets change and when timestamps jump.
type packager struct {
	timeline *timeline
	sounds   []*sound // renditions of their own
	rungs    []*rung  // other renditions of the pictures
	silent   []*silentTrack
	tracks   map[int]Track // by id: those in the leading rendition
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
	opened    bool  // its first segment is open
	shift     int64 // from the unit's DTS to media time
	last      int64 // media time of the latest frame pushed
	keys      keyPictures
}

// closedSegment is what the multivariant playlist is made from.
type closedSegment struct {
	bytes    int
	frames   int // of the leading track
	duration time.Duration
	gap      bool
}

// write takes a unit and publishes what it completes.
func (p *packager) write(u Unit) error {
	id, ok := p.index[u.Track]
	switch {
	case !ok || len(u.Payload) == 0 || len(u.Payload[0]) == 0:
		return nil
	case id != p.lead:
		p.sounded(id)
		return p.pushAudio(id, u)
	}
	if err := p.hush(u); err != nil {
		return err
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
	p.run.keys.see(u, f.dts+f.offset, p.tracks[p.lead].ClockRate)
	return p.emit(p.run.segmenter.push(f))
}

// pushAudio queues a frame beside the lead.
func (p *packager) pushAudio(id int, u Unit) error {
	if len(p.sounds) > 0 {
		return p.pushSound(id-audioID, u)
	}
	p.audio.push(u)
	return nil
}

// isLead tells whether u is of the leading track.
func (p *packager) isLead(u Unit) bool {
	id, ok := p.index[u.Track]
	return ok && id == p.lead && len(u.Payload) > 0 && len(u.Payload[0]) > 0
}

// begins tells whether a run begins with u.
func (p *packager) begins(u Unit) bool {
	return p.isLead(u) && u.Random && p.run == nil && p.timeline.mayBegin(time.Now())
}

// pushRung queues a picture of a rung, and publishes what it completes there.
func (p *packager) pushRung(r *rung, u Unit) error {
	if len(u.Payload) == 0 {
		return nil
	}
	r.push(u)
	if p.run == nil || !p.run.opened {
		return nil
	}
	return p.publish(false)
}

// beside are the renditions that follow the leading one.
func (p *packager) beside() []beside {
	all := make([]beside, 0, len(p.sounds)+len(p.rungs))
	for _, s := range p.sounds {
		all = append(all, s)
	}
	for _, r := range p.rungs {
		all = append(all, r)
	}
	return all
}

// pushSound queues a frame of a rendition beside the lead, and publishes what
// it completes there.
func (p *packager) pushSound(n int, u Unit) error {
	if n >= len(p.sounds) {
		return nil
	}
	p.sounds[n].push(u)
	if p.run == nil || !p.run.opened {
		return nil
	}
	return p.publish(false)
}

// follow ends and begins runs as the unit of the leading track demands.
func (p *packager) follow(u Unit) error {
	codec, changed := p.tracks[p.lead].Codec, false
	if u.Random {
		codec, changed = p.parameters(u)
	}
	if p.run != nil && (changed || p.jumps(u.DTS+p.run.shift)) {
		end := p.endRun // the clock goes on, and so does the sound
		if p.jumps(u.DTS + p.run.shift) {
			end = p.seal
		}
		if err := end(); err != nil {
			return err
		}
	}
	if !p.begins(u) {
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
	p.run.first = frame{dts: start, offset: u.PTS - u.DTS, random: true}
	if audio, ok := p.tracks[audioID]; ok && p.lead != audioID {
		first := rescale(start+p.run.first.offset, lead.ClockRate, audio.ClockRate)
		p.audio.begin(rescale(shift, lead.ClockRate, audio.ClockRate), rescale(start, lead.ClockRate, audio.ClockRate), first)
	}
	p.timeline.beginRun(init, lead.ClockRate, u.WallTime)
	for _, s := range p.sounds {
		rate := s.track.ClockRate
		if err := s.begin(rescale(shift, lead.ClockRate, rate), p.inTicks(rate, p.shown(&p.run.first))); err != nil {
			return err
		}
	}
	for _, r := range p.rungs {
		r.begin(&p.run.keys, p.inTicks(r.rate, p.shown(&p.run.first)))
	}
	return nil
}

// inTicks is a media time of the lead in ticks of rate a second.
func (p *packager) inTicks(rate int, at int64) int64 {
	return rescale(at, p.tracks[p.lead].ClockRate, rate)
}

// frame returns the unit as a frame in media time.
func (p *packager) frame(u Unit) (frame, error) {
	if p.run == nil {
		return frame{}, nil
	}
	f := frame{dts: u.DTS + p.run.shift, wall: u.WallTime, random: u.Random, payload: u.Payload[0]}
	if p.lead == videoID {
		var err error
		if f.payload, err = pictureBytes(p.tracks[videoID].Codec, u.Payload); err != nil {
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
	if next := p.run.segmenter.pending; next != nil && !p.run.opened {
		p.run.opened = true
		p.open(next)
	}
	for i := range pieces {
		if err := p.add(&pieces[i]); err != nil {
			return err
		}
	}
	err := p.publish(len(pieces) > 0)
	for _, s := range p.ready {
		if err == nil {
			p.closed(s)
		}
	}
	p.ready = p.ready[:0]
	return err
}

// publish brings the others to where the lead is, and publishes the lists that
// have news; lead tells whether the leading one has.
func (p *packager) publish(lead bool) error {
	all, now := []*timeline{p.timeline}, time.Now()
	var news []*timeline
	if lead {
		news = append(news, p.timeline)
	}
	for _, one := range p.beside() {
		var err error
		f := one.state()
		switch {
		case p.run.segmenter.pending == nil:
			err = one.seal()
		case f.early(now): // the next frame of any rendition brings us here again
		default:
			err = f.advance(p.inTicks(f.rate, p.run.last+p.run.first.offset))
		}
		if err != nil {
			return err
		}
		p.timeline.reach(ticksDuration(f.next, f.rate))
		all = append(all, f.timeline)
		if f.news {
			f.news, f.told = false, now
			news = append(news, f.timeline)
		}
	}
	if len(news) == 0 {
		return nil
	}
	return publishAll(news, all)
}

// open opens the segment that begins with f, in all renditions.
func (p *packager) open(f *frame) {
	p.timeline.openSegment(p.date(f))
	for _, one := range p.beside() {
		follower := one.state()
		follower.open(p.inTicks(follower.rate, p.shown(f)), f.random, p.timeline.list.Open)
	}
}

func (p *packager) add(piece *piece) error {
	t, first := p.timeline, &piece.frames[0]
	rate := p.tracks[p.lead].ClockRate
	last := &piece.frames[len(piece.frames)-1]
	tracks := map[int][]frame{p.lead: piece.frames}
	t.reach(ticksDuration(last.dts+last.duration, rate))
	if audio, ok := p.tracks[audioID]; ok && p.lead != audioID {
		until := rescale(first.dts+piece.duration+p.run.first.offset, rate, audio.ClockRate)
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
		p.close(last)
	}
	return nil
}

// close closes the segment that ends with the frame last, and opens the next
// one, if the run goes on.
func (p *packager) close(last *frame) {
	next, end := p.run.segmenter.pending, last.dts+last.duration+p.run.first.offset
	if next != nil {
		end = p.shown(next)
	}
	for _, one := range p.beside() {
		f := one.state()
		f.close(p.inTicks(f.rate, end))
	}
	p.ready = append(p.ready, closedSegment{bytes: p.bytes, frames: p.frames, duration: p.timeline.closeSegment()})
	p.bytes, p.frames = 0, 0
	if next != nil {
		p.open(next)
	}
}

// shown returns when a segment that begins with f is first shown, in media
// time. A key frame is the first one shown of its segment; after a forced cut
// the first one decoded need not be, and the delay between both that the run
// began with is taken.
func (p *packager) shown(f *frame) int64 {
	if f.random {
		return f.dts + f.offset
	}
	return f.dts + p.run.first.offset
}

// date returns when a segment that begins with f is first shown, after the run's
// first frame, and the wall time of that.
func (p *packager) date(f *frame) (start time.Duration, wall time.Time) {
	rate := p.tracks[p.lead].ClockRate
	start = ticksDuration(p.shown(f)-p.shown(&p.run.first), rate)
	if f.random {
		return start, f.wall
	}
	return start, f.wall.Add(-ticksDuration(f.offset-p.run.first.offset, rate))
}

// seal ends the run, and with it the sound that waits for more of it.
func (p *packager) seal() error {
	err := p.endRun()
	p.audio.clear()
	return err
}

// endRun ends the run: what is pending is published and the segment closed.
func (p *packager) endRun() error {
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
