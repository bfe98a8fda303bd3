package origin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"surgecast/relay"
)

// resume makes the stream's timelines go on from these, the leading one first,
// and publishes them.
func (p *past) resume(all []*restoration, index []byte, renditions []string) error {
	s := p.stream
	declared, families, err := restoredTracks(all, len(s.pictures))
	if err != nil {
		return err
	}
	timelines := make([]*timeline, len(all))
	mediaEndAll := time.Duration(0)
	for i, r := range all {
		t := newTimeline(r.rendition, s.out.CreateWindow(r.rendition), s.timeline.epoch, s.Constants, s.window, streamRecord{}, false)
		t.news = s.news
		if r.put(t.window); len(r.list.Segments) == 0 {
			return fmt.Errorf("store the media of %s: %w", r.rendition, relay.ErrBudget)
		}
		end, err := t.resume(r)
		if err != nil {
			return fmt.Errorf("read the media of %s: %w", r.rendition, err)
		}
		mediaEndAll = max(mediaEndAll, end)
		timelines[i] = t
	}
	for _, t := range timelines[1:] {
		t.lead = timelines[0]
	}
	last, _ := s.journal.stream(s.Name)
	timelines[0].reach(max(mediaEndAll, last.MediaEnd))
	if err := publishAll(timelines, timelines); err != nil {
		return err
	}
	s.timeline = timelines[0]
	for i, p := range s.pictures {
		p.timeline, p.family, p.listed = timelines[i], families[i], slices.Contains(renditions, timelines[i].rendition)
	}
	for _, t := range timelines[len(s.pictures):] {
		s.beside = append(s.beside, &sideRendition{timeline: t})
	}
	s.declared, s.index = declared, index
	s.tracks = maps.Clone(declared) // what is shown until an encoder comes has them too
	s.marks = map[string]bool{}
	for _, d := range s.timeline.list.DateRanges {
		s.marks[d.ID] = true
	}
	s.journal.note(s.Name, s.record())
	if err := s.journal.save(); err != nil {
		s.logger.Error("journal not saved", "err", err)
	}
	s.out.SetIndex(index)
	s.catalogue.declare(s.Name, s.renditions())
	s.catalogue.revise(s.Name)
	s.loss.restored = true
	s.lost(time.Now())
	s.obey()
	return nil
}

// resume goes on behind a list of an earlier life: whatever comes next is
// another run, of another epoch. It returns the media time that the list comes
// to.
func (t *timeline) resume(r *restoration) (end time.Duration, err error) {
	if end, t.fragments, err = r.end(); err != nil && !errors.Is(err, errOnlyGaps) {
		return 0, err
	}
	t.list = r.list
	t.born, t.base = time.Now(), t.list.OpenSequence()
	t.discontinuity, t.nextInit = r.discontinuity(), r.newestInit()+1
	t.initName = r.lastMap() // of gaps, if those come next
	t.date.reach(t.list.End())
	return end, nil
}

// restoredTracks returns the track set that a stream had, by its init segments,
// and the families of the codecs of its rungs, which come first.
func restoredTracks(all []*restoration, rungs int) (declared map[int]Track, families []string, err error) {
	declared = map[int]Track{}
	for i, r := range all {
		if i > 0 && i < rungs && len(r.media) == 0 {
			families = append(families, "") // it was never there
			continue
		}
		tracks, err := initTracks(r.newestMap())
		if err != nil {
			return nil, nil, fmt.Errorf("read the init segment of %s: %w", r.rendition, err)
		}
		if i < rungs {
			families = append(families, family(tracks[videoID].Codec))
		}
		if i == 0 {
			declared = tracks
		}
		if i < rungs {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(r.rendition, soundPrefix+"%d", &n); err != nil || n != i-rungs || n >= maxSounds || tracks[audioID].Codec == nil {
			return nil, nil, fmt.Errorf("%s is no rendition that is known", r.rendition)
		}
		declared[audioID+n] = tracks[audioID]
	}
	return declared, families, nil
}

// initTracks reads an init segment of ours.
func initTracks(text []byte) (map[int]Track, error) {
	var init fmp4.Init
	if err := init.Unmarshal(bytes.NewReader(text)); err != nil {
		return nil, err
	}
	tracks := map[int]Track{}
	for _, t := range init.Tracks {
		if (t.ID != videoID && t.ID != audioID) || family(t.Codec) == "" || t.TimeScale == 0 || t.Codec.IsVideo() != (t.ID == videoID) {
			return nil, fmt.Errorf("track %d is none of ours", t.ID)
		}
		tracks[t.ID] = Track{Codec: t.Codec, ClockRate: int(t.TimeScale)}
	}
	return tracks, nil
}

// mediaEnd returns the media time at which the tracks of some fragments end, and
// the number of the last one.
func mediaEnd(init, body []byte) (end time.Duration, fragment uint32, err error) {
	tracks, err := initTracks(init)
	if err != nil {
		return 0, 0, err
	}
	var parts fmp4.Parts
	if err := parts.Unmarshal(body); err != nil {
		return 0, 0, err
	}
	for _, part := range parts {
		fragment = max(fragment, part.SequenceNumber)
		for _, t := range part.Tracks {
			rate := tracks[t.ID].ClockRate
			if rate == 0 || t.BaseTime > 1<<60 {
				return 0, 0, fmt.Errorf("track %d at %d", t.ID, t.BaseTime)
			}
			at := int64(t.BaseTime)
			for _, sample := range t.Samples {
				at += int64(sample.Duration)
			}
			end = max(end, ticksDuration(at, rate))
		}
	}
	return end, fragment, nil
}

// wholeObject tells whether bytes from elsewhere can be the object: an init
// segment that can be read, or boxes that end where the bytes end.
func wholeObject(name relay.MediaName, body []byte) bool {
	if name.Kind == relay.Init {
		_, err := initTracks(body)
		return err == nil
	}
	for len(body) >= 8 {
		size := uint64(binary.BigEndian.Uint32(body))
		if size < 8 || size > uint64(len(body)) {
			return false
		}
		body = body[size:]
	}
	return len(body) == 0
}
