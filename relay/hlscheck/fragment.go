package hlscheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Continuity checks that fragments follow each other without a hole: feed it
// the init segment and then parts, or segments, in the order of playing. The
// zero value is ready.
type Continuity struct {
	scales map[uint32]uint32 // ticks a second, by track
	usual  map[uint32]defaults
	next   map[uint32]uint64 // where a track's next fragment begins; after a hole that the caller allows, see Break
	latest map[uint32]uint64 // where its latest one began
	serial uint32
}

// defaults are those of a track's samples.
type defaults struct{ duration, size uint32 }

// CheckFragments checks an init segment and the media that follow it.
func CheckFragments(init []byte, media [][]byte) []string {
	var c Continuity
	problems := c.Init(init)
	for i, m := range media {
		for _, problem := range c.Media(m) {
			problems = append(problems, fmt.Sprintf("object %d: %s", i, problem))
		}
	}
	return problems
}

// Init takes an init segment. Tracks go on where they were: media time is one
// for all of a timeline.
func (c *Continuity) Init(b []byte) (problems []string) {
	c.scales, c.usual = map[uint32]uint32{}, map[uint32]defaults{}
	if c.next == nil {
		c.next, c.latest = map[uint32]uint64{}, map[uint32]uint64{}
	}
	err := boxes(b, func(kind string, body []byte) error {
		if kind == "moov" {
			return c.moov(body)
		}
		return nil
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	if len(c.scales) == 0 || len(c.usual) != len(c.scales) {
		problems = append(problems, fmt.Sprintf("the init segment has %d tracks and %d trex", len(c.scales), len(c.usual)))
	}
	return problems
}

// Break allows each track one hole, as at a discontinuity; none goes back.
func (c *Continuity) Break() {
	for id := range c.next {
		c.next[id] |= holeAllowed
	}
}

const holeAllowed = 1 << 63

func (c *Continuity) moov(b []byte) error {
	return boxes(b, func(kind string, body []byte) error {
		switch kind {
		case "trak":
			return c.trak(body)
		case "mvex":
			return boxes(body, func(kind string, body []byte) error {
				if kind == "trex" {
					r := reader{b: body}
					r.skip(4)
					id := r.u32()
					r.skip(4)
					c.usual[id] = defaults{r.u32(), r.u32()}
					return r.err
				}
				return nil
			})
		}
		return nil
	})
}

func (c *Continuity) trak(b []byte) error {
	var id, scale uint32
	err := boxes(b, func(kind string, body []byte) error {
		switch kind {
		case "tkhd":
			r := reader{b: body}
			times := 8
			if r.u32()>>24 == 1 {
				times = 16
			}
			r.skip(times)
			id = r.u32()
			return r.err
		case "mdia":
			return boxes(body, func(kind string, body []byte) error {
				if kind == "mdhd" {
					r := reader{b: body}
					times := 8
					if r.u32()>>24 == 1 {
						times = 16
					}
					r.skip(times)
					scale = r.u32()
					return r.err
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && (id == 0 || scale == 0) {
		err = fmt.Errorf("a track with id %d and %d ticks a second", id, scale)
	}
	c.scales[id] = scale
	return err
}

// Media takes the next part or segment: one moof and mdat after the other.
func (c *Continuity) Media(b []byte) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var declared, pairs int
	inMoof := false
	err := boxes(b, func(kind string, body []byte) error {
		switch kind {
		case "moof":
			if inMoof {
				complain("a moof without its mdat")
			}
			inMoof, declared = true, 0
			return boxes(body, func(kind string, body []byte) error {
				switch kind {
				case "mfhd":
					r := reader{b: body}
					r.skip(4)
					if n := r.u32(); n <= c.serial && c.serial != 0 {
						complain("moof %d after %d", n, c.serial)
					} else {
						c.serial = n
					}
					return r.err
				case "traf":
					n, err := c.traf(body, complain)
					declared += n
					return err
				}
				return nil
			})
		case "mdat":
			if !inMoof || declared != len(body) {
				complain("mdat of %d bytes, its samples have %d", len(body), declared)
			}
			inMoof = false
			pairs++
		}
		return nil
	})
	if err != nil {
		complain("%v", err)
	}
	if pairs == 0 || inMoof {
		complain("no whole moof and mdat")
	}
	return problems
}

// traf returns how many bytes its samples have.
func (c *Continuity) traf(b []byte, complain func(string, ...any)) (int, error) {
	var id uint32
	var base uint64
	var d defaults
	var length uint64
	bytes, timed := 0, false
	err := boxes(b, func(kind string, body []byte) error {
		r := reader{b: body}
		version := r.u32()
		flags := version & 0xffffff
		switch kind {
		case "tfhd":
			id = r.u32()
			if c.scales[id] == 0 {
				complain("track %d is not in the init segment", id)
			}
			d = c.usual[id]
			r.when(flags, 0x1, 8)
			r.when(flags, 0x2, 4)
			r.value(flags, 0x8, &d.duration)
			r.value(flags, 0x10, &d.size)
		case "tfdt":
			timed = true
			if version>>24 == 1 {
				base = uint64(r.u32()) << 32
			}
			base |= uint64(r.u32())
		case "trun":
			n := r.u32()
			r.when(flags, 0x1, 4)
			r.when(flags, 0x4, 4)
			for range n {
				s := d
				r.value(flags, 0x100, &s.duration)
				r.value(flags, 0x200, &s.size)
				r.when(flags, 0x400, 4)
				r.when(flags, 0x800, 4)
				if r.err != nil {
					break
				}
				if s.duration == 0 || s.size == 0 {
					complain("track %d: a sample of %d ticks, %d bytes", id, s.duration, s.size)
				}
				length += uint64(s.duration)
				bytes += int(s.size)
			}
		}
		return r.err
	})
	if !timed {
		complain("track %d: no tfdt", id)
	}
	if want, known := c.next[id]; known && timed {
		c.step(id, want, base, complain)
	}
	if c.next != nil {
		c.next[id], c.latest[id] = base+length, base
	}
	return bytes, err
}

// Span is what a track's latest fragment covers, in media time.
type Span struct{ Start, End time.Duration }

// Spans returns what each track's latest fragment covers, in the order of the
// track ids. A track that the latest media left out has that of older ones.
func (c *Continuity) Spans() []Span {
	var all []Span
	for _, id := range slices.Sorted(maps.Keys(c.latest)) {
		scale := uint64(max(c.scales[id], 1))
		at := func(ticks uint64) time.Duration {
			ticks &^= holeAllowed
			return time.Duration(ticks/scale)*time.Second + time.Duration(ticks%scale)*time.Second/time.Duration(scale)
		}
		all = append(all, Span{at(c.latest[id]), at(c.next[id])})
	}
	return all
}

func (c *Continuity) step(id uint32, want, base uint64, complain func(string, ...any)) {
	allowed := want&holeAllowed != 0
	want &^= holeAllowed
	switch {
	case base < want:
		complain("track %d: overlap of %d ticks of 1/%d s", id, want-base, c.scales[id])
	case base > want && !allowed:
		complain("track %d: hole of %d ticks of 1/%d s", id, base-want, c.scales[id])
	}
}

var errCut = errors.New("a box is cut")

// boxes calls f for each box of b.
func boxes(b []byte, f func(kind string, body []byte) error) error {
	for len(b) > 0 {
		if len(b) < 8 {
			return errCut
		}
		size, head := uint64(binary.BigEndian.Uint32(b)), 8
		if size == 1 && len(b) >= 16 {
			size, head = binary.BigEndian.Uint64(b[8:]), 16
		}
		if size < uint64(head) || size > uint64(len(b)) {
			return errCut
		}
		if err := f(string(b[4:8]), b[head:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// reader reads the fields of a box; behind its end all is zero and err is set.
type reader struct {
	b   []byte
	err error
}

func (r *reader) skip(n int) {
	if len(r.b) < n {
		r.b, r.err = nil, errCut
		return
	}
	r.b = r.b[n:]
}

func (r *reader) u32() uint32 {
	if len(r.b) < 4 {
		r.b, r.err = nil, errCut
		return 0
	}
	v := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// when skips a field that is there if the flag is.
func (r *reader) when(flags, flag uint32, n int) {
	if flags&flag != 0 {
		r.skip(n)
	}
}

// value reads one that is there if the flag is.
func (r *reader) value(flags, flag uint32, into *uint32) {
	if flags&flag != 0 {
		*into = r.u32()
	}
}
