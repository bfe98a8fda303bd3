package relay

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// complete makes sure that all media of p are here, and has closed segments
// consist of their parts. It needs w.mu.
func (w *Window) complete(p *Playlist) error {
	for i := range p.Segments {
		s := &p.Segments[i]
		if p.MediaSequence+uint64(i) < w.floor {
			continue
		}
		if err := w.here(s.Map, s.Parts); err != nil {
			return err
		}
		if s.Gap || w.objects[s.Name] != nil {
			continue
		}
		if len(s.Parts) == 0 {
			return fmt.Errorf("%w: %v", ErrMissingMedia, s.Name)
		}
		w.closeSegment(s)
	}
	return w.here(p.Open.Map, p.Open.Parts)
}

// here tells which of these objects is missing. It needs w.mu.
func (w *Window) here(init MediaName, parts []Part) error {
	if init.Kind != 0 && w.objects[init] == nil {
		return fmt.Errorf("%w: %v", ErrMissingMedia, init)
	}
	for i := range parts {
		if !parts[i].Gap && w.objects[parts[i].Name] == nil {
			return fmt.Errorf("%w: %v", ErrMissingMedia, parts[i].Name)
		}
	}
	return nil
}

// closeSegment stores a segment that consists of its parts, whose bytes stay
// where they are until somebody asks for it: to join 5 MB, a second in 4K, takes
// 8 ms, for which all who wait for the next part would be late. It needs w.mu.
func (w *Window) closeSegment(s *Segment) {
	parts := make([]*Object, 0, len(s.Parts))
	for i := range s.Parts {
		if !s.Parts[i].Gap {
			parts = append(parts, w.objects[s.Parts[i].Name])
		}
	}
	o := &Object{Name: s.Name, Duration: s.Duration, parts: parts}
	o.join = sync.OnceValue(func() *Object { return w.join(o) })
	w.store(o)
}

// join returns a closed segment with its bytes one behind the other. Its parts
// then point into it, so that the bytes stand in memory once.
func (w *Window) join(o *Object) *Object {
	w.joining.Lock()
	defer w.joining.Unlock()
	whole := &Object{Name: o.Name, Body: slices.Concat(o.pieces()...), Duration: o.Duration, caching: o.caching}
	to := 0
	for _, part := range o.parts {
		from := to
		to += len(part.Body)
		whole.parts = append(whole.parts, &Object{Name: part.Name, Body: whole.Body[from:to:to], Duration: part.Duration, caching: part.caching})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects[o.Name] == o { // else it has left meanwhile, with its parts
		w.objects[o.Name] = whole
		for _, part := range whole.parts {
			w.objects[part.Name] = part
		}
	}
	return whole
}

// keep is how long media stay after their segment left the list: what the
// slowest client that just read the list before needs.
func (w *Window) keep() time.Duration { return w.constants.maxHold() }

// retire forgets the media of segments that left the list long enough ago. It
// needs w.mu.
func (w *Window) retire(before *Version) {
	now := time.Now()
	p := w.version.Playlist
	if before != nil {
		q := before.Playlist
		for i := range q.Segments {
			if q.MediaSequence+uint64(i) >= p.MediaSequence {
				break
			}
			w.left = append(w.left, leaving{q.Segments[i], now})
		}
		// An open segment that never was closed: another epoch went on.
		if q.OpenSequence() < p.MediaSequence && len(q.Open.Parts) > 0 {
			w.left = append(w.left, leaving{q.Open, now})
		}
	}
	n := 0
	for n < len(w.left) && now.Sub(w.left[n].at) > w.keep() {
		w.drop(&w.left[n].segment)
		n++
	}
	w.left = append(w.left[:0], w.left[n:]...)
}

// drop needs w.mu.
func (w *Window) drop(s *Segment) {
	w.remove(s.Name)
	epoch, msn := s.Name.Epoch, s.Name.Number
	if s.Name.Kind == 0 {
		epoch, msn = s.Parts[0].Name.Epoch, s.Parts[0].Name.Number
	}
	for part := range maxSegmentParts {
		name := MediaName{Kind: PartMedia, Epoch: epoch, Number: msn, Part: part}
		if w.objects[name] == nil && !s.Gap { // a gap lacks some of its parts
			break
		}
		w.remove(name)
	}
	if s.Map.Kind != 0 && !w.maps(s.Map) {
		w.remove(s.Map)
	}
}

// remove needs w.mu.
func (w *Window) remove(name MediaName) {
	o := w.objects[name]
	if o == nil {
		return
	}
	delete(w.objects, name)
	for _, part := range o.parts {
		w.remove(part.Name)
	}
	if o.parts == nil {
		w.budget.give(int64(len(o.Body)))
	}
}

// maps tells whether any segment that is kept needs the init segment. It needs
// w.mu.
func (w *Window) maps(init MediaName) bool {
	p := w.version.Playlist
	if p.Open.Map == init {
		return true
	}
	for i := range p.Segments {
		if p.Segments[i].Map == init {
			return true
		}
	}
	for i := range w.left {
		if w.left[i].segment.Map == init && time.Since(w.left[i].at) <= w.keep() {
			return true
		}
	}
	return false
}

// shed makes room when the stream is over its budget: first what left the list
// goes before its time, then the oldest listed segments, down to what players
// at the live edge need. Who asks for those gets 404, as one who fell behind
// the window; nobody who watches live notices. It needs w.mu.
func (w *Window) shed() {
	for len(w.left) > 0 && w.budget.over() {
		w.drop(&w.left[0].segment)
		w.left = w.left[1:]
	}
	if w.version == nil {
		return
	}
	p := w.version.Playlist
	for least := p.leastKept(); w.floor < least && w.budget.over(); {
		w.raiseFloor(max(w.floor, p.MediaSequence) + 1)
	}
}

// raiseFloor lets the listed segments below msn be absent, and forgets them.
// It needs w.mu.
func (w *Window) raiseFloor(msn uint64) {
	from := w.floor
	w.floor = msn
	if w.version == nil {
		return
	}
	p := w.version.Playlist
	for n := max(from, p.MediaSequence); n < min(msn, p.OpenSequence()); n++ {
		w.drop(&p.Segments[n-p.MediaSequence])
	}
}

// spare lets the segments up to msn be absent if the list p does well without
// them, and tells whether it does.
func (w *Window) spare(p *Playlist, msn uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if msn >= p.leastKept() {
		return false
	}
	if msn >= w.floor {
		w.raiseFloor(msn + 1)
	}
	return true
}

// least returns the floor: listed segments below it may be absent.
func (w *Window) least() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.floor
}

// leastKept returns the media sequence number from which on segments are never
// given up: HOLD-BACK and a target duration from the end, where the slowest
// live player is.
func (p *Playlist) leastKept() uint64 {
	n, behind := len(p.Segments), time.Duration(0)
	for n > 0 && behind < p.HoldBack+p.TargetDuration {
		n--
		behind += p.Segments[n].Duration
	}
	return p.MediaSequence + uint64(n)
}
