package origin

import "fmt"

// toChange is how a stream comes to another track set. A restart alone goes on
// with the list that players have, and so with what is in it, unless the origin
// was away for longer than that list is.
const toChange = `"surgecast end" the stream and restart the origin to change it`

// declare holds a publication to the stream's track set: the first sets it. An
// audio track that was not declared is dropped, one that is missing stays as it
// was. It needs s.mu.
func (s *stream) declare(byID map[int]Track, index map[int]int) error {
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

// accepts tells whether a publication of these tracks would be held to be of
// another track set.
func (s *stream) accepts(tracks []Track) error {
	byID, index, err := chooseTracks(tracks)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.declared == nil {
		return nil
	}
	return s.declare(byID, index)
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
	renditions := []string{mainRendition}
	if video && (sounds > 1 || sounds == 1 && s.Audio == AudioSeparate) {
		last, known := s.journal.stream(s.Name)
		for i := range sounds {
			name := fmt.Sprintf("audio-%d", i)
			renditions = append(renditions, name)
			t := newTimeline(name, s.out.CreateWindow(name), s.journal.epoch, s.Constants, s.window, last, known)
			t.lead, t.news = s.timeline, s.news
			s.beside = append(s.beside, &sideRendition{timeline: t})
		}
	}
	s.catalogue.declare(s.Name, renditions)
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
