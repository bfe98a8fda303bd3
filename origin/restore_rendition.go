package origin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"surgecast/relay"
)

// restoration is one rendition on its way from an earlier life into this one.
type restoration struct {
	rendition string
	list      relay.Playlist // with no open segment
	index     []byte         // the multivariant playlist, as far as the disk has it
	media     map[relay.MediaName][]byte
	age       time.Duration // since the list was published
}

// take takes a list, and closes its open segment with the parts that it has. A
// segment may be short there, since a discontinuity follows.
func (r *restoration) take(list *relay.Playlist) {
	r.list = *list
	r.list.Segments = slices.Clone(list.Segments)
	r.list.Hint, r.list.Reports = relay.MediaName{}, nil
	open := list.Open
	r.list.Open = relay.Segment{}
	if len(open.Parts) == 0 {
		return
	}
	open.Name = relay.MediaName{Kind: relay.SegmentMedia, Epoch: open.Parts[0].Name.Epoch, Number: list.OpenSequence()}
	open.Duration = 0
	for i := range open.Parts {
		open.Duration += open.Parts[i].Duration
		open.Gap = open.Gap || open.Parts[i].Gap
	}
	r.list.Segments = append(r.list.Segments, open)
}

// discontinuity is the discontinuity sequence number of the newest segment.
func (r *restoration) discontinuity() uint64 {
	n := r.list.DiscontinuitySequence
	for i := range r.list.Segments {
		if r.list.Segments[i].Discontinuity {
			n++
		}
	}
	return n
}

// newestInit is the number of the newest init segment.
func (r *restoration) newestInit() (n uint64) {
	for i := range r.list.Segments {
		n = max(n, r.list.Segments[i].Map.Number)
	}
	return n
}

const (
	// restoreFetches is how many objects are fetched at once, from all relays
	// together.
	restoreFetches = 8
	// maxMediaTries bounds how many relays are asked for one object.
	maxMediaTries = 3
)

// collect gets from the relays what the disk lacks, the newest first. What can't
// be had is cut off at the front: everything that a list names can be had.
func (r *restoration) collect(ctx context.Context, stream string, witnesses []Witness) error {
	var holders []relay.Holder
	for i := range witnesses {
		if _, ok := witnesses[i].Held.Rendition(stream, r.rendition); ok {
			holders = append(holders, witnesses[i].Holder)
		}
	}
	want := r.wanted()
	var (
		mu       sync.Mutex // of r.media, while it grows
		next     int
		fetching sync.WaitGroup
	)
	for range min(restoreFetches, len(want)*len(holders)) {
		fetching.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(want) || ctx.Err() != nil {
					return
				}
				for try := range min(maxMediaTries, len(holders)) {
					body, err := holders[(i+try)%len(holders)].Media(ctx, stream, r.rendition, want[i])
					if err == nil && wholeObject(want[i], body) {
						mu.Lock()
						r.media[want[i]] = body
						mu.Unlock()
						break
					}
				}
			}
		})
	}
	fetching.Wait()
	r.cut()
	if len(r.list.Segments) == 0 {
		return fmt.Errorf("the newest media of %s can't be had", r.rendition)
	}
	return nil
}

// wanted returns what is not here, the newest first.
func (r *restoration) wanted() []relay.MediaName {
	var want []relay.MediaName
	add := func(name relay.MediaName) {
		if name.Kind != 0 && r.media[name] == nil && !slices.Contains(want, name) {
			want = append(want, name)
		}
	}
	for i := len(r.list.Segments) - 1; i >= 0; i-- {
		s := &r.list.Segments[i]
		add(s.Map)
		switch {
		case r.media[s.Name] != nil, s.Gap:
		case len(s.Parts) == 0:
			add(s.Name)
		default:
			for j := range s.Parts {
				add(s.Parts[j].Name)
			}
		}
	}
	return want
}

// cut drops all segments up to the last one that lacks something.
func (r *restoration) cut() {
	for i := len(r.list.Segments) - 1; i >= 0; i-- {
		if r.has(&r.list.Segments[i]) {
			continue
		}
		for _, s := range r.list.Segments[:i+1] {
			r.list.MediaSequence++
			if s.Discontinuity {
				r.list.DiscontinuitySequence++
			}
		}
		r.list.Segments = r.list.Segments[i+1:]
		return
	}
}

// has tells whether all of a segment is here. Parts that are not, of one that
// is here as a whole, or of a gap, are taken out of the list.
func (r *restoration) has(s *relay.Segment) bool {
	if s.Map.Kind != 0 && r.media[s.Map] == nil {
		return false
	}
	parts := true
	for i := range s.Parts {
		parts = parts && (s.Parts[i].Gap || r.media[s.Parts[i].Name] != nil)
	}
	switch {
	case parts && len(s.Parts) > 0:
		return true
	case s.Gap || r.media[s.Name] != nil:
		s.Parts = nil
		return true
	}
	return false
}

// keepUp brings a rendition beside the leading one to the same segment, with
// gaps for what it lacks.
func (r *restoration) keepUp(lead *relay.Playlist) error {
	if r.list.OpenSequence() < lead.MediaSequence {
		return fmt.Errorf("the list of %s ended long before the leading one", r.rendition)
	}
	fresh := len(r.list.Segments) == 0
	for n := r.list.OpenSequence(); n < lead.OpenSequence(); n++ {
		like := &lead.Segments[n-lead.MediaSequence]
		gap := relay.Segment{
			Name:            relay.MediaName{Kind: relay.SegmentMedia, Epoch: like.Name.Epoch, Number: n},
			Map:             r.lastMap(),
			Duration:        like.Duration,
			ProgramDateTime: like.ProgramDateTime,
			Discontinuity:   like.Discontinuity,
			Gap:             true,
		}
		for i, part := range like.Parts {
			if !fresh {
				break // it had parts of its own there, which nobody knows
			}
			name := relay.MediaName{Kind: relay.PartMedia, Epoch: like.Name.Epoch, Number: n, Part: i}
			gap.Parts = append(gap.Parts, relay.Part{Name: name, Duration: part.Duration, Gap: true})
		}
		r.list.Segments = append(r.list.Segments, gap)
	}
	return nil
}

// put fills a window with the media of the list, the newest first. What is
// beyond the window's budget is cut off.
func (r *restoration) put(w *relay.Window) {
	put := func(name relay.MediaName, d time.Duration) {
		if name.Kind == 0 {
			return
		}
		w.Put(name, r.media[name], d)
		if !w.Has(name) {
			delete(r.media, name)
		}
	}
	for i := len(r.list.Segments) - 1; i >= 0; i-- {
		s := &r.list.Segments[i]
		put(s.Map, 0)
		for _, part := range s.Parts {
			if !part.Gap {
				put(part.Name, part.Duration)
			}
		}
		if len(s.Parts) == 0 && !s.Gap {
			put(s.Name, s.Duration)
		}
	}
	r.cut()
}

// newestMap returns the init segment that was in force at the end.
func (r *restoration) newestMap() []byte {
	return r.media[r.lastMap()]
}

// lastMap names it; the zero name where there was none.
func (r *restoration) lastMap() relay.MediaName {
	if n := len(r.list.Segments); n > 0 {
		return r.list.Segments[n-1].Map
	}
	return relay.MediaName{}
}

var errOnlyGaps = errors.New("there are only gaps")

// end returns the media time at which the rendition ends, and the number of its
// last fragment.
func (r *restoration) end() (end time.Duration, fragment uint32, err error) {
	after := time.Duration(0)
	for i := len(r.list.Segments) - 1; i >= 0; i-- {
		s := &r.list.Segments[i]
		body := r.media[s.Name]
		for _, part := range s.Parts {
			if r.media[s.Name] == nil {
				body = append(body, r.media[part.Name]...)
			}
		}
		if len(body) > 0 && s.Map.Kind != 0 {
			end, fragment, err = mediaEnd(r.media[s.Map], body)
			return end + after, fragment, err
		}
		after += s.Duration
	}
	return 0, 0, errOnlyGaps
}
