package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	// reportPeriod is how often the origin hears our wall clock.
	reportPeriod = 2 * time.Second

	// maxBehind is how late the feed may be before it starts anew: a machine
	// that was asleep shall not send a night's worth of pictures at once.
	maxBehind = 2 * time.Second

	ntpSecondsAt1970 = 2208988800
)

var errBehind = errors.New("this machine does not keep up with real time")

// clipSender sends a clip in a loop over one connection: paced by the clock,
// with timestamps that go on from one round to the next.
type clipSender struct {
	clip    *clip
	session *description.Session
	tracks  [2]sendTrack
}

type sendTrack struct {
	media     *description.Media
	clockRate int64
	first     uint32 // RTP timestamp of time 0
	ssrc      uint32
	packets   uint32
	bytes     uint32
	encode    func([][]byte) ([]*rtp.Packet, error)
}

func newClipSender(c *clip) (*clipSender, error) {
	video := &format.H264{PayloadTyp: 96, SPS: c.video.SPS, PPS: c.video.PPS, PacketizationMode: 1}
	audio := &format.MPEG4Audio{PayloadTyp: 97, Config: &c.audio.Config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	videoEncoder, err := video.CreateEncoder()
	if err != nil {
		return nil, err
	}
	audioEncoder, err := audio.CreateEncoder()
	if err != nil {
		return nil, err
	}
	s := &clipSender{clip: c}
	s.tracks[clipVideo] = newSendTrack(description.MediaTypeVideo, video, videoEncoder.Encode)
	s.tracks[clipAudio] = newSendTrack(description.MediaTypeAudio, audio, audioEncoder.Encode)
	s.session = &description.Session{
		Title:  "surgecast",
		Medias: []*description.Media{s.tracks[clipVideo].media, s.tracks[clipAudio].media},
	}
	return s, nil
}

func newSendTrack(kind description.MediaType, f format.Format, encode func([][]byte) ([]*rtp.Packet, error)) sendTrack {
	return sendTrack{
		media:     &description.Media{Type: kind, Formats: []format.Format{f}},
		clockRate: int64(f.ClockRate()),
		first:     rand.Uint32(), // RFC 3550: anywhere
		encode:    encode,
	}
}

// run sends until ctx ends or the connection is lost, which lost tells.
func (s *clipSender) run(ctx context.Context, client *gortsplib.Client, lost <-chan error) error {
	start := time.Now()
	s.learnSSRCs(client)
	timer := time.NewTimer(0)
	defer timer.Stop()
	reported := -reportPeriod
	for round := 0; ; round++ {
		for _, sample := range s.clip.samples {
			at := time.Duration(round)*s.clip.duration + sample.at
			timer.Reset(time.Until(start.Add(at)))
			select {
			case <-timer.C:
			case err := <-lost:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
			now := time.Since(start)
			if now-at > maxBehind {
				return errBehind
			}
			if at >= reported+reportPeriod {
				reported = at
				if err := s.report(client, now); err != nil {
					return err
				}
			}
			if err := s.send(client, round, sample); err != nil {
				return err
			}
		}
	}
}

// learnSSRCs asks the client, which has chosen them.
func (s *clipSender) learnSSRCs(client *gortsplib.Client) {
	stats := client.Stats()
	for i := range s.tracks {
		media := s.tracks[i].media
		s.tracks[i].ssrc = stats.Session.Medias[media].Formats[media.Formats[0]].LocalSSRC
	}
}

// send sends one sample. Its timestamp is counted in whole rounds and in ticks
// within the round, so that no rounding adds up.
func (s *clipSender) send(client *gortsplib.Client, round int, sample clipSample) error {
	track := &s.tracks[sample.track]
	packets, err := track.encode(sample.payload)
	if err != nil {
		return err
	}
	timestamp := track.first + uint32(int64(round)*track.ticks(s.clip.duration)+track.ticks(sample.at))
	for _, packet := range packets {
		packet.Timestamp = timestamp
		track.packets++
		track.bytes += uint32(len(packet.Payload))
		if err := client.WritePacketRTP(track.media, packet); err != nil {
			return err
		}
	}
	return nil
}

// ticks rounds to the nearest tick.
func (t *sendTrack) ticks(d time.Duration) int64 {
	return (int64(d/time.Microsecond)*t.clockRate + 500_000) / 1_000_000
}

// report tells for both tracks which RTP timestamp is now, after this time
// since the start.
func (s *clipSender) report(client *gortsplib.Client, since time.Duration) error {
	ntp := ntpTimestamp(time.Now())
	for i := range s.tracks {
		track := &s.tracks[i]
		err := client.WritePacketRTCP(track.media, &rtcp.SenderReport{
			SSRC:        track.ssrc,
			NTPTime:     ntp,
			RTPTime:     track.first + uint32(track.ticks(since)),
			PacketCount: track.packets,
			OctetCount:  track.bytes,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ntpTimestamp is seconds since 1900 in the upper half, and a binary fraction
// of the second in the lower.
func ntpTimestamp(t time.Time) uint64 {
	return uint64(t.Unix()+ntpSecondsAt1970)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
