package origintest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Fragments follows one rendition's fragmented MP4 as a player does, box by
// box: give it Init and Media in the order of the media playlist. It is read by
// other code than what wrote it.
//
// It holds media to this: each fragment is one moof and one mdat; sequence
// numbers grow; each track's decode time goes on exactly where the fragment
// before ended, except after Discontinuity, where it may leave a hole but not
// go back; the samples fill the mdat to the byte.
type Fragments struct {
	tracks   map[uint32]*fragmentTrack
	sequence uint32
	broken   bool // a discontinuity is due
}

type fragmentTrack struct {
	timescale       uint32
	defaultDuration uint32 // of trex
	defaultSize     uint32
	next            uint64 // decode time at which the next fragment is to begin
	begun           bool
	start           uint64 // of the latest fragment
}

// Span is what a track's latest fragment covers, in media time.
type Span struct{ Start, End time.Duration }

// errFragment is what all complaints begin with.
var errFragment = errors.New("fMP4")

func complain(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errFragment, fmt.Errorf(format, args...))
}

// box is one box and where it begins in its parent.
type box struct {
	kind string
	body []byte
	at   int // of the header
	size int // with the header
}

// boxes splits b; each must be whole.
func boxes(b []byte) ([]box, error) {
	var all []box
	for at := 0; at < len(b); {
		if len(b)-at < 8 {
			return nil, complain("%d bytes too many", len(b)-at)
		}
		size := int(binary.BigEndian.Uint32(b[at:]))
		if size < 8 || size > len(b)-at {
			return nil, complain("box %q of %d bytes, %d are there", b[at+4:at+8], size, len(b)-at)
		}
		all = append(all, box{string(b[at+4 : at+8]), b[at+8 : at+size], at, size})
		at += size
	}
	return all, nil
}

// inside returns the boxes at the end of a path of kinds below b.
func inside(b []byte, path ...string) ([]box, error) {
	level := []box{{body: b}}
	for _, kind := range path {
		var next []box
		for _, parent := range level {
			children, err := boxes(parent.body)
			if err != nil {
				return nil, err
			}
			for _, child := range children {
				if child.kind == kind {
					next = append(next, child)
				}
			}
		}
		level = next
	}
	return level, nil
}

// Init takes an init segment. Tracks that were there before go on in media
// time.
func (f *Fragments) Init(b []byte) error {
	traks, err := inside(b, "moov", "trak")
	if err != nil {
		return err
	}
	before := f.tracks
	f.tracks = map[uint32]*fragmentTrack{}
	for _, trak := range traks {
		id, timescale, err := trackHeader(trak.body)
		if err != nil {
			return err
		}
		t := &fragmentTrack{timescale: timescale}
		if old := before[id]; old != nil && old.timescale == timescale {
			t.next, t.begun = old.next, old.begun
		}
		f.tracks[id] = t
	}
	trexes, err := inside(b, "moov", "mvex", "trex")
	if err != nil {
		return err
	}
	for _, trex := range trexes {
		r := reader{b: trex.body, at: 4}
		t := f.tracks[r.u32()]
		_ = r.u32() // sample description
		duration, size := r.u32(), r.u32()
		if t == nil || r.short {
			return complain("a trex of no track")
		}
		t.defaultDuration, t.defaultSize = duration, size
	}
	if len(f.tracks) == 0 || len(trexes) != len(f.tracks) {
		return complain("%d tracks, %d of them fragmented", len(f.tracks), len(trexes))
	}
	return nil
}

func trackHeader(trak []byte) (id, timescale uint32, err error) {
	tkhd, err := inside(trak, "tkhd")
	if err != nil {
		return 0, 0, err
	}
	mdhd, err := inside(trak, "mdia", "mdhd")
	if err != nil {
		return 0, 0, err
	}
	if len(tkhd) != 1 || len(mdhd) != 1 {
		return 0, 0, complain("a track without its headers")
	}
	read := func(b []byte) uint32 { // behind two times
		r := reader{b: b, at: 12}
		if len(b) > 0 && b[0] == 1 {
			r.at = 20
		}
		return r.u32()
	}
	return read(tkhd[0].body), read(mdhd[0].body), nil
}

// Discontinuity lets the next fragment leave a hole in media time.
func (f *Fragments) Discontinuity() { f.broken = true }

// Media takes a part, or a segment of several.
func (f *Fragments) Media(b []byte) error {
	top, err := boxes(b)
	if err != nil {
		return err
	}
	top = slices.DeleteFunc(top, func(x box) bool { return x.kind == "styp" || x.kind == "prft" || x.kind == "sidx" })
	if len(top) == 0 || len(top)%2 != 0 {
		return complain("%d boxes, want moof and mdat in turn", len(top))
	}
	for i := 0; i < len(top); i += 2 {
		if top[i].kind != "moof" || top[i+1].kind != "mdat" {
			return complain("%s, %s: want moof, mdat", top[i].kind, top[i+1].kind)
		}
		if err := f.fragment(top[i], top[i+1]); err != nil {
			return err
		}
		f.broken = false
	}
	return nil
}

func (f *Fragments) fragment(moof, mdat box) error {
	headers, err := inside(moof.body, "mfhd")
	if err != nil || len(headers) != 1 {
		return complain("%d mfhd, %v", len(headers), err)
	}
	r := reader{b: headers[0].body, at: 4}
	if sequence := r.u32(); sequence <= f.sequence && !f.broken {
		return complain("sequence number %d after %d", sequence, f.sequence)
	} else {
		f.sequence = sequence
	}
	trafs, err := inside(moof.body, "traf")
	if err != nil {
		return err
	}
	runs := trafRuns{from: mdat.at + 8 - moof.at}
	for _, traf := range trafs {
		if err := f.traf(traf.body, &runs); err != nil {
			return err
		}
	}
	return runs.fill(len(mdat.body))
}

// Span returns what the track's latest fragment covers.
func (f *Fragments) Span(track uint32) (Span, bool) {
	t := f.tracks[track]
	if t == nil || !t.begun {
		return Span{}, false
	}
	at := func(ticks uint64) time.Duration {
		s := ticks / uint64(t.timescale)
		return time.Duration(s)*time.Second + time.Duration(ticks%uint64(t.timescale))*time.Second/time.Duration(t.timescale)
	}
	return Span{at(t.start), at(t.next)}, true
}

// Tracks returns the ids of the tracks in order.
func (f *Fragments) Tracks() []uint32 {
	var ids []uint32
	for id := range f.tracks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
