package origin_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// An encoder that announces another codec family than the stream has is told so
// at ANNOUNCE, with the reason; one that leaves sound out or adds some is not.
func TestOtherFamilyIsRefusedAtAnnounce(t *testing.T) {
	s := newStage(t, t.TempDir())
	source := &origintest.Source{Audio: true}
	p := s.publish(source)
	p.Close()
	r, err := origin.NewRTSP(origin.RTSPConfig{Listen: "127.0.0.1:0", Gate: origin.NewGate(origin.GateConfig{Origin: s.Origin})})
	if err != nil {
		t.Fatal(err)
	}
	runBeside(t.Context(), t, r.Run)
	video := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96, PacketizationMode: 1}}}
	hevc := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H265{PayloadTyp: 96}}}
	opus := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.Opus{PayloadTyp: 97, ChannelCount: 2}}}
	for name, c := range map[string]struct {
		medias  []*description.Media
		refused bool
	}{
		"picture alone": {[]*description.Media{video}, false},
		"other picture": {[]*description.Media{hevc}, true},
		"other sound":   {[]*description.Media{video, opus}, true},
		"sound alone":   {[]*description.Media{opus}, true},
	} {
		transport := gortsplib.TransportTCP
		client := &gortsplib.Client{Transport: &transport}
		err := client.StartRecording("rtsp://publish:curtain@"+r.Addr().String()+"/theatre", &description.Session{Medias: c.medias})
		if err == nil {
			client.Close()
		}
		var status liberrors.ErrClientBadStatusCode
		refused := errors.As(err, &status) && status.Code == base.StatusUnsupportedMediaType && strings.Contains(status.Message, "carries [H.264 AAC]")
		if refused != c.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
