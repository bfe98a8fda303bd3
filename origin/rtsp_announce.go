package origin

import (
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// announced is a track that was chosen from an ANNOUNCE, with where its
// packets come from.
type announced struct {
	media  *description.Media
	format format.Format
	track  *ingestTrack
}

// choose takes the first video and up to maxSounds audio of a description, in
// this order; dropped names the rest. Its error says what to set on the encoder.
func choose(session *description.Session) (chosen []announced, dropped []string, err error) {
	for _, kind := range []description.MediaType{description.MediaTypeVideo, description.MediaTypeAudio} {
		room := 1
		if kind == description.MediaTypeAudio {
			room = maxSounds
		}
		first := true
		for _, media := range session.Medias {
			if media.Type != kind || len(media.Formats) == 0 {
				continue
			}
			track, err := announce(media)
			if err != nil && first {
				return nil, nil, err
			}
			first = false
			if err != nil || room == 0 {
				dropped = append(dropped, mediaName(media))
				continue
			}
			room--
			chosen = append(chosen, track)
		}
	}
	for _, media := range session.Medias {
		if media.Type != description.MediaTypeVideo && media.Type != description.MediaTypeAudio {
			dropped = append(dropped, mediaName(media))
		}
	}
	if len(chosen) == 0 {
		return nil, nil, fmt.Errorf("neither video nor audio is announced: set the encoder to H.264 and AAC-LC")
	}
	return chosen, dropped, nil
}

// announce takes the first format of a media; more than one is rare, and then
// they are alternatives.
func announce(media *description.Media) (announced, error) {
	f := media.Formats[0]
	depack, clockRate, err := newDepacketizer(f)
	if err != nil {
		return announced{}, err
	}
	track := &ingestTrack{
		video:  media.Type == description.MediaTypeVideo,
		clock:  trackClock{clockRate: int64(clockRate)},
		depack: depack,
	}
	return announced{media: media, format: f, track: track}, nil
}

func mediaName(media *description.Media) string {
	if len(media.Formats) == 0 {
		return string(media.Type)
	}
	return string(media.Type) + " " + media.Formats[0].Codec()
}

func codecNames(chosen []announced) (names []string) {
	for _, a := range chosen {
		names = append(names, a.format.Codec())
	}
	return names
}
