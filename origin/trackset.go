package origin

import (
	"fmt"
	"maps"
)

// toChange is how a stream comes to another track set. A restart alone goes on
// with the list that players have, and so with what is in it, unless the origin
// was away for longer than that list is.
const toChange = `"surgecast end" the stream and restart the origin to change it`

// declare holds a publication that leads to the stream's track set: the first
// sets it. An audio track that was not declared is dropped, one that is missing
// stays as it was. A rung may have a codec of its own. It needs s.mu.
func (s *stream) declare(p *picture, byID map[int]Track, index map[int]int) error {
	if s.declared == nil {
		s.declareFirst(byID)
	}
	drop := func(id int) {
		delete(byID, id)
		for i := range index {
			if index[i] == id {
				delete(index, i)
			}
		}
	}
	for id := range byID {
		if _, ok := s.declared[id]; !ok && id != videoID {
			drop(id)
		}
	}
	for id, was := range s.declared {
		is, ok := byID[id]
		if id == videoID && (p.family == "" || ok && family(is.Codec) == p.family) {
			continue
		}
		switch {
		case !ok && id != videoID && len(byID) > 0:
			byID[id] = was
		case !ok || family(is.Codec) != family(was.Codec):
			return fmt.Errorf("%w: %q carries %v, the encoder sends %v; %s",
				ErrCodecChanged, s.Name, families(s.declared), families(byID), toChange)
		}
	}
	if _, ok := s.declared[videoID]; !ok && byID[videoID].Codec != nil {
		return fmt.Errorf("%w: %q carries sound only; %s", ErrCodecChanged, s.Name, toChange)
	}
	return nil
}

// accepts tells whether a publication of these tracks, to a rung or "", would be
// held to be of another track set.
func (s *stream) accepts(rung string, tracks []Track) error {
	byID, index, err := chooseTracks(tracks)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.picture(rung)
	if err != nil {
		return err
	}
	return s.suits(p, byID, index)
}

// renditions are the names of all, as relays are told. It needs s.mu.
func (s *stream) renditions() []string {
	names := s.rungNames()
	for _, r := range s.beside {
		names = append(names, r.timeline.rendition)
	}
	return names
}

// suits tells whether a rung can be of these tracks. It needs s.mu.
func (s *stream) suits(p *picture, byID map[int]Track, index map[int]int) error {
	if _, ok := byID[videoID]; !ok && len(s.pictures) > 1 {
		return fmt.Errorf("%w: a stream with rungs has pictures in each", ErrCodecUnusable)
	}
	if s.declared == nil {
		return nil
	}
	byID, index = cloneTracks(byID, index)
	return s.declare(p, byID, index)
}

func cloneTracks(byID map[int]Track, index map[int]int) (map[int]Track, map[int]int) {
	return maps.Clone(byID), maps.Clone(index)
}

// declareFirst fixes the track set and the renditions. Sound that was announced
// and does not come is left out: players wait for ever for a track that an init
// segment promises. It needs s.mu.
func (s *stream) declareFirst(byID map[int]Track) {
	s.declared = map[int]Track{}
	sounds := 0
	for n := range maxSounds {
		if t, ok := byID[audioID+n]; ok && !t.Missing {
			sounds = n + 1
		}
	}
	track, video := byID[videoID]
	if video {
		s.declared[videoID] = track
	} else {
		sounds = 1 // sound alone is one rendition
	}
	if _, announced := byID[audioID+sounds]; video && announced {
		s.logger.Warn("sound was announced and nothing comes: the stream goes on without it; connect it, then "+toChange, "tracks", sounds)
	}
	for n := range sounds {
		s.declared[audioID+n] = byID[audioID+n]
	}
	if video && (sounds > 1 || sounds == 1 && (s.Audio == AudioSeparate || len(s.pictures) > 1)) {
		last, known := s.journal.stream(s.Name)
		for i := range sounds {
			name := fmt.Sprintf("%s%d", soundPrefix, i)
			t := newTimeline(name, s.out.CreateWindow(name), s.journal.epoch, s.Constants, s.window, last, known)
			t.lead, t.news = s.timeline, s.news
			s.beside = append(s.beside, &sideRendition{timeline: t})
		}
	}
	s.catalogue.declare(s.Name, s.renditions())
}

// chooseTracks picks the tracks to package, by id, and maps the publication's
// track numbers to ids: the first video track of a codec that can be packaged,
// and the audio tracks, which have ids from audioID.
func chooseTracks(tracks []Track) (map[int]Track, map[int]int, error) {
	byID, index := map[int]Track{}, map[int]int{}
	sounds := 0
	for i, t := range tracks {
		if t.Codec == nil || family(t.Codec) == "" || t.ClockRate < 1000 || t.ClockRate > 1_000_000 {
			continue
		}
		id := videoID
		if !t.Codec.IsVideo() {
			if sounds == maxSounds {
				continue
			}
			id = audioID + sounds
			sounds++
		}
		if _, taken := byID[id]; !taken {
			byID[id], index[i] = t, id
		}
	}
	if len(byID) == 0 {
		return nil, nil, fmt.Errorf("%w: want H.264, H.265 or AV1, AAC or Opus", ErrCodecUnusable)
	}
	return byID, index, nil
}

// families names the codecs of tracks, video first.
func families(byID map[int]Track) []string {
	var names []string
	for id := videoID; id < audioID+maxSounds; id++ {
		if t, ok := byID[id]; ok {
			names = append(names, family(t.Codec))
		}
	}
	return names
}
