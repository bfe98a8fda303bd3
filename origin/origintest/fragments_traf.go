package origintest

import (
	"encoding/binary"
	"slices"
)

// reader reads big-endian numbers; short tells that there were too few bytes.
type reader struct {
	b     []byte
	at    int
	short bool
}

func (r *reader) u32() uint32 {
	if r.at+4 > len(r.b) {
		r.short = true
		return 0
	}
	v := binary.BigEndian.Uint32(r.b[r.at:])
	r.at += 4
	return v
}

func (r *reader) u64() uint64 { return uint64(r.u32())<<32 | uint64(r.u32()) }

// flags reads the version and flags of a full box.
func (r *reader) flags() (version byte, flags uint32) {
	v := r.u32()
	return byte(v >> 24), v & 0xffffff
}

// Flags of tfhd and trun (ISO/IEC 14496-12, 8.8.7 and 8.8.8).
const (
	tfhdBaseOffset  = 0x000001
	tfhdDescription = 0x000002
	tfhdDuration    = 0x000008
	tfhdSize        = 0x000010
	tfhdEmpty       = 0x010000

	trunOffset     = 0x000001
	trunFirstFlags = 0x000004
	trunDuration   = 0x000100
	trunSize       = 0x000200
	trunFlags      = 0x000400
	trunShift      = 0x000800
)

// traf reads what a fragment says of one track.
func (f *Fragments) traf(b []byte, runs *trafRuns) error {
	children, err := boxes(b)
	if err != nil {
		return err
	}
	var t *fragmentTrack
	var duration, size uint32
	dated := false
	for _, child := range children {
		r := reader{b: child.body}
		switch child.kind {
		case "tfhd":
			if t, duration, size, err = f.tfhd(&r); err != nil {
				return err
			}
		case "tfdt":
			if t == nil {
				return complain("tfdt before tfhd")
			}
			if err := t.begin(&r, f.broken); err != nil {
				return err
			}
			dated = true
		case "trun":
			if t == nil || !dated {
				return complain("a run without its decode time")
			}
			if err := t.run(&r, duration, size, runs); err != nil {
				return err
			}
		}
		if r.short {
			return complain("%s is cut short", child.kind)
		}
	}
	if !dated {
		return complain("a traf without tfdt")
	}
	return nil
}

func (f *Fragments) tfhd(r *reader) (t *fragmentTrack, duration, size uint32, err error) {
	_, flags := r.flags()
	id := r.u32()
	if t = f.tracks[id]; t == nil {
		return nil, 0, 0, complain("track %d is not in the init segment", id)
	}
	if flags&tfhdBaseOffset != 0 || flags&tfhdEmpty != 0 {
		return nil, 0, 0, complain("track %d: a base offset, or nothing", id)
	}
	if flags&tfhdDescription != 0 {
		_ = r.u32()
	}
	duration, size = t.defaultDuration, t.defaultSize
	if flags&tfhdDuration != 0 {
		duration = r.u32()
	}
	if flags&tfhdSize != 0 {
		size = r.u32()
	}
	return t, duration, size, nil
}

// begin reads tfdt, which must say where the fragment before ended.
func (t *fragmentTrack) begin(r *reader, broken bool) error {
	version, _ := r.flags()
	at := uint64(0)
	if version == 1 {
		at = r.u64()
	} else {
		at = uint64(r.u32())
	}
	switch {
	case t.begun && at < t.next:
		return complain("decode time goes back from %d to %d", t.next, at)
	case t.begun && at > t.next && !broken:
		return complain("a hole in decode time from %d to %d", t.next, at)
	}
	t.begun, t.start, t.next = true, at, at
	return nil
}

// run reads trun.
func (t *fragmentTrack) run(r *reader, duration, size uint32, runs *trafRuns) error {
	_, flags := r.flags()
	count := r.u32()
	if flags&trunOffset == 0 {
		return complain("a run without an offset")
	}
	one := byteRange{from: int(int32(r.u32()))}
	one.to = one.from
	if flags&trunFirstFlags != 0 {
		_ = r.u32()
	}
	for range count {
		d, s := duration, size
		if flags&trunDuration != 0 {
			d = r.u32()
		}
		if flags&trunSize != 0 {
			s = r.u32()
		}
		if flags&trunFlags != 0 {
			_ = r.u32()
		}
		if flags&trunShift != 0 {
			_ = r.u32()
		}
		if r.short {
			return complain("a run of %d samples is cut short", count)
		}
		t.next += uint64(d)
		one.to += int(s)
	}
	runs.all = append(runs.all, one)
	return nil
}

// trafRuns are the bytes that the runs of a fragment use, counted from its
// moof.
type trafRuns struct {
	from int // where the media data begin
	all  []byteRange
}

type byteRange struct{ from, to int }

// fill tells whether the runs use each byte of the media data once.
func (r *trafRuns) fill(size int) error {
	slices.SortFunc(r.all, func(a, b byteRange) int { return a.from - b.from })
	at := r.from
	for _, one := range r.all {
		if one.from != at {
			return complain("a run begins at byte %d, want %d", one.from, at)
		}
		at = one.to
	}
	if at != r.from+size {
		return complain("the samples fill %d of %d bytes", at-r.from, size)
	}
	return nil
}
