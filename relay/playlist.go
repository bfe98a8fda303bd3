package relay

import (
	"time"
)

// Playlist is a media playlist with its live window. Write it with AppendText
// and read it with ParsePlaylist.
type Playlist struct {
	Constants
	MediaSequence         uint64
	DiscontinuitySequence uint64
	// Segments are the closed ones, oldest first; the media sequence number of
	// Segments[i] is MediaSequence + i.
	Segments []Segment
	// Open holds the parts of the segment that still grows; it may have none.
	// Its media sequence number is MediaSequence + len(Segments).
	Open Segment
	// Hint is the part that comes next; the zero name when none will.
	Hint MediaName
	// DateRanges are what is said about dates; they stand before the segments.
	DateRanges []DateRange
	// Reports tell where the other renditions' lists end; they stand last.
	Reports []RenditionReport
	// Ended tells that nothing will be added any more.
	Ended bool
}

// Segment is a media segment, or what is known of the open one.
type Segment struct {
	Name            MediaName // zero in the open segment
	Map             MediaName // the init segment in force
	Duration        time.Duration
	ProgramDateTime time.Time // of the first frame; zero when not known
	Discontinuity   bool      // differs from the segment before
	Gap             bool      // lacks media, one part of it at least; its URI is not to be loaded
	Parts           []Part    // only in the last 3 × TARGETDURATION of a list
}

// Part is a partial segment.
type Part struct {
	Name        MediaName
	Duration    time.Duration
	Independent bool // holds a frame from which a decoder can start
	Gap         bool
}

// RenditionReport says how far the list of another rendition has come.
type RenditionReport struct {
	URI      string // of that list, relative to this one
	LastMSN  uint64 // media sequence number of its last part
	LastPart int    // the last part's number; negative when not told
}

// Report returns what the other renditions' lists report of p, the list of the
// given rendition; false while p has nothing.
func (p *Playlist) Report(rendition string) (RenditionReport, bool) {
	r := RenditionReport{URI: "../" + liveURI(rendition), LastMSN: p.OpenSequence(), LastPart: len(p.Open.Parts) - 1}
	if n := len(p.Segments); r.LastPart < 0 && n > 0 {
		r.LastMSN, r.LastPart = r.LastMSN-1, len(p.Segments[n-1].Parts)-1
	} else if r.LastPart < 0 {
		return r, false
	}
	return r, true
}

// OpenSequence returns the media sequence number of the open segment.
func (p *Playlist) OpenSequence() uint64 { return p.MediaSequence + uint64(len(p.Segments)) }

// Epoch returns the highest epoch of the media that p names.
func (p *Playlist) Epoch() Epoch {
	newest := p.Hint.Epoch
	for i := range p.Open.Parts {
		newest = max(newest, p.Open.Parts[i].Name.Epoch)
	}
	for i := range p.Segments {
		newest = max(newest, p.Segments[i].Name.Epoch)
	}
	return newest
}

// End returns the wall time at which the newest media of p ends, or the zero
// time when the list does not say.
func (p *Playlist) End() time.Time {
	if t := p.Open.ProgramDateTime; !t.IsZero() && len(p.Open.Parts) > 0 {
		for i := range p.Open.Parts {
			t = t.Add(p.Open.Parts[i].Duration)
		}
		return t
	}
	if len(p.Segments) == 0 {
		return time.Time{}
	}
	last := &p.Segments[len(p.Segments)-1]
	if last.ProgramDateTime.IsZero() {
		return time.Time{}
	}
	return last.ProgramDateTime.Add(last.Duration)
}

// has tells whether p answers a request for part of segment msn, or for the
// whole segment when part is negative. A part past the end of a closed segment
// means the first part of the next one.
func (p *Playlist) has(msn uint64, part int) bool {
	open := p.OpenSequence()
	switch {
	case msn > open:
		return false
	case msn == open:
		return part >= 0 && part < len(p.Open.Parts)
	case part < 0 || msn < p.MediaSequence:
		return true
	}
	parts := len(p.Segments[msn-p.MediaSequence].Parts)
	// A segment without parts is older than 3 × TARGETDURATION: whoever asks
	// for its part is far behind and gets the list as it is.
	if parts == 0 || part < parts || msn+1 < open {
		return true
	}
	return len(p.Open.Parts) > 0
}

// tooFar tells whether a request for part of segment msn, or for the whole
// segment when part is negative, is so far ahead that it is a mistake.
func (p *Playlist) tooFar(msn uint64, part int) bool {
	open, limit := p.OpenSequence(), p.advanceParts()
	last := open
	if len(p.Open.Parts) == 0 && last > 0 {
		last--
	}
	switch {
	case msn > last+2:
		return true
	case msn == open:
		return part >= len(p.Open.Parts)+limit
	default:
		return msn > open && part >= limit
	}
}
