package origin

import (
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// announced is what an ANNOUNCE tells of a session: its essences, and beside
// each of them where its packets come from and what takes them.
type announced struct {
	essences []essence
	medias   []*description.Media
	depacks  []depacketizer // nil for an essence with a problem
}

func readAnnounce(session *description.Session) announced {
	var a announced
	for _, media := range session.Medias {
		if media.IsBackChannel {
			continue // what a camera plays, not what it hears
		}
		e, depack := announcedEssence(media)
		a.essences = append(a.essences, e)
		a.medias = append(a.medias, media)
		a.depacks = append(a.depacks, depack)
	}
	return a
}

// announcedEssence takes the first format of a media; more than one is rare, and
// then they are alternatives.
func announcedEssence(media *description.Media) (essence, depacketizer) {
	var e essence
	switch media.Type {
	case description.MediaTypeVideo:
		e.kind = essenceVideo
	case description.MediaTypeAudio:
		e.kind = essenceAudio
	}
	if len(media.Formats) == 0 {
		e.kind, e.name = essenceOther, string(media.Type)
		return e, nil
	}
	e.name = media.Formats[0].Codec()
	if e.kind == essenceOther {
		return e, nil
	}
	var depack depacketizer
	depack, e.codec, e.problem = newDepacketizer(media.Formats[0])
	return e, depack
}

// format is that of an essence.
func (a announced) format(track int) format.Format { return a.medias[track].Formats[0] }

// feed returns what turns the packets of the chosen tracks into units.
func (a announced) feed(chosen []int) *rtpFeed {
	f := &rtpFeed{tracks: make([]*rtpTrack, len(a.essences))}
	for _, i := range chosen {
		f.tracks[i] = &rtpTrack{clock: newTrackClock(clockRate(a.essences[i].codec)), depack: a.depacks[i]}
	}
	return f
}
