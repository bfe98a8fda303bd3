package origin

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// bench is an ingest of H.264 (track 0, 25 fps) and Opus (track 1, 20 ms) by
// RTP that is fed by hand, with a clock of its own.
type bench struct {
	t         *testing.T
	in        *ingest
	feed      *rtpFeed
	log       bytes.Buffer
	published *fakePublication
	now       time.Time
	sequence  [2]uint16
}

const (
	benchVideo = 0xfffff000 // RTP timestamps of time 0
	benchAudio = 0x00001000
)

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOf(t,
		&description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{h264Format(testSPS, testPPS)}},
		&description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.Opus{PayloadTyp: 97, ChannelCount: 2}}},
	)
}

func newBenchOf(t *testing.T, medias ...*description.Media) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2026, 9, 12, 18, 0, 0, 0, time.UTC)}
	announced := readAnnounce(&description.Session{Medias: medias})
	chosen, err := chooseEssences(announced.essences, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	b.feed = announced.feed(chosen.index)
	b.feed.logger = slog.New(slog.NewTextHandler(&b.log, nil))
	publishers := &fakePublishers{published: make(chan *fakePublication, 1)}
	b.in = newIngest(announcement{tracks: announced.essences, tie: b.feed}, chosen, func(tracks []Track) (publication, error) {
		p, err := publishers.publish("theatre", "", false, tracks)
		b.published = p.(*fakePublication)
		return p, err
	}, b.feed.logger)
	b.feed.ingest = b.in
	return b
}

// rtp gives a packet to the feed and what comes of it to the ingest, at the
// bench's time.
func (b *bench) rtp(track int, packet *rtp.Packet) error {
	b.t.Helper()
	b.feed.packet(track, packet, b.now)
	for len(b.in.queue.units) > 0 {
		u := <-b.in.queue.units
		b.in.queue.took(u)
		if err := b.in.take(u); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// picture n, of one packet. Every 25th is a key picture.
func (b *bench) picture(n int) error {
	b.t.Helper()
	payload := testP
	if n%25 == 0 {
		payload = testIDR
	}
	return b.rtp(0, b.packet(0, benchVideo+uint32(n*3600), payload))
}

func (b *bench) sound(n int) error {
	b.t.Helper()
	return b.rtp(1, b.packet(1, benchAudio+uint32(n*960), []byte{0xfc, byte(n)}))
}

func (b *bench) packet(track int, timestamp uint32, payload []byte) *rtp.Packet {
	b.sequence[track]++
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: true, SSRC: uint32(track), SequenceNumber: b.sequence[track], Timestamp: timestamp},
		Payload: payload,
	}
}

// report says that the track's time 0 was at wall.
func (b *bench) report(track int, wall time.Time) {
	b.t.Helper()
	first := []uint32{benchVideo, benchAudio}[track]
	b.feed.report(track, &rtcp.SenderReport{SSRC: uint32(track), NTPTime: ntpTimestamp(wall), RTPTime: first}, b.now)
}

// second sends one second of pictures and sound, in real time.
func (b *bench) second(n int) {
	b.t.Helper()
	for i := range 25 {
		b.must(b.picture(n*25 + i))
		b.must(b.sound(n*50 + 2*i))
		b.must(b.sound(n*50 + 2*i + 1))
		b.now = b.now.Add(40 * time.Millisecond)
	}
}

// offset returns how much later the sound of the publication is than its
// picture, against the RTP timestamps; and the units that came.
func (b *bench) offset() (sound time.Duration, units []Unit) {
	b.t.Helper()
	if b.published == nil {
		b.t.Fatalf("nothing is published: %s", &b.log)
	}
	for len(b.published.units) > 0 {
		units = append(units, <-b.published.units)
	}
	for _, u := range units {
		if u.Track == 1 {
			n := time.Duration(u.Payload[0][1]) * 20 * time.Millisecond
			return ticksToDuration(u.PTS, 48000) - n, units
		}
	}
	b.t.Fatal("no sound")
	return 0, nil
}

func TestLipSyncByReports(t *testing.T) {
	b := newBench(t)
	wall := b.now.Add(-150 * time.Millisecond)
	b.report(0, wall)
	b.report(1, wall.Add(30*time.Millisecond))
	b.second(0)
	sound, units := b.offset()
	if off := sound - 30*time.Millisecond; off.Abs() > time.Millisecond {
		t.Errorf("sound is off by %v", off)
	}
	if units[0].PTS != 0 || units[0].Track != 0 || units[0].WallTime.Sub(wall).Abs() > time.Microsecond {
		t.Errorf("first unit %+v", units[0])
	}
}

// A new report moves the wall time at once and PTS never.
func TestLaterReportsMoveWallTimeOnly(t *testing.T) {
	b := newBench(t)
	wall := b.now
	b.report(0, wall)
	b.report(1, wall)
	b.second(0)
	b.report(0, wall.Add(70*time.Millisecond))
	b.report(1, wall.Add(70*time.Millisecond))
	b.second(1)
	_, units := b.offset()
	var last int64 = -3600
	for _, u := range units {
		if u.Track != 0 {
			continue
		}
		if u.PTS != last+3600 {
			t.Fatalf("PTS %d after %d", u.PTS, last)
		}
		last = u.PTS
		want := wall.Add(ticksToDuration(u.PTS, 90000))
		if u.PTS >= 90000 {
			want = want.Add(70 * time.Millisecond)
		}
		if u.WallTime.Sub(want).Abs() > time.Microsecond {
			t.Fatalf("wall time at %d is off by %v", u.PTS, u.WallTime.Sub(want))
		}
	}
}

// Without reports the publication waits for reportWait and goes by arrival.
func TestLipSyncByArrival(t *testing.T) {
	b := newBench(t)
	began := b.now
	for n := range 80 {
		b.must(b.picture(n))
		b.now = b.now.Add(10 * time.Millisecond) // sound comes later by this
		b.must(b.sound(2 * n))
		b.must(b.sound(2*n + 1))
		b.now = b.now.Add(30 * time.Millisecond)
	}
	if b.published != nil {
		t.Fatal("has not waited for reports")
	}
	b.must(b.picture(80))
	sound, units := b.offset()
	// The second sound packet of each pair comes 20 ms before its time.
	if off := sound - (10-20)*time.Millisecond; off.Abs() > time.Millisecond {
		t.Errorf("sound is off by %v", off)
	}
	if !units[0].WallTime.Equal(began) {
		t.Errorf("wall time %v is not that of arrival, %v", units[0].WallTime, began)
	}
	if !strings.Contains(b.log.String(), "synchronized by arrival") {
		t.Errorf("log: %s", &b.log)
	}
}

// What an encoder queued while it connected comes in one burst: it is dated by
// when the newest came.
func TestBurstIsDated(t *testing.T) {
	b := newBench(t)
	for n := range 50 {
		b.must(b.picture(n))
		b.must(b.sound(2 * n))
	}
	began := b.now.Add(-49 * 40 * time.Millisecond) // when the first picture was due
	for n := 50; b.published == nil; n++ {
		b.now = b.now.Add(40 * time.Millisecond)
		b.must(b.picture(n))
		b.must(b.sound(2 * n))
	}
	if _, units := b.offset(); units[0].WallTime.Sub(began).Abs() > time.Millisecond {
		t.Errorf("dated %v after it was due", units[0].WallTime.Sub(began))
	}
}

// A camera that counts from 1970 still has both tracks on one clock.
func TestAbsurdClock(t *testing.T) {
	b := newBench(t)
	wall := time.Unix(86400, 0)
	b.report(0, wall)
	b.report(0, wall)
	b.report(1, wall.Add(-15*time.Millisecond))
	b.second(0)
	sound, units := b.offset()
	if off := sound + 15*time.Millisecond; off.Abs() > time.Millisecond {
		t.Errorf("sound is off by %v", off)
	}
	for _, u := range units {
		if u.WallTime.Year() != b.now.Year() {
			t.Fatalf("dated %v", u.WallTime)
		}
	}
	if n := strings.Count(b.log.String(), "off by more than a day"); n != 2 {
		t.Errorf("said %d times for two tracks: %s", n, &b.log)
	}
}

// Reports that put sound an hour away from the picture are wrong.
func TestContradictingReports(t *testing.T) {
	b := newBench(t)
	b.report(0, b.now)
	b.report(1, b.now.Add(-time.Hour))
	b.second(0)
	b.second(1)
	if sound, _ := b.offset(); sound.Abs() > 25*time.Millisecond {
		t.Errorf("sound is off by %v", sound)
	}
}

// Sound that begins later joins in on the same clock.
func TestLateTrack(t *testing.T) {
	b := newBench(t)
	wall := b.now
	b.report(0, wall)
	for n := range 50 {
		b.must(b.picture(n))
		b.now = b.now.Add(40 * time.Millisecond)
	}
	b.report(1, wall.Add(5*time.Millisecond))
	b.must(b.sound(100))
	if sound, _ := b.offset(); (sound - 5*time.Millisecond).Abs() > time.Millisecond {
		t.Errorf("sound is off by %v", sound)
	}
}

func TestPublicationBeginsWithKeyPicture(t *testing.T) {
	b := newBench(t)
	b.report(0, b.now)
	b.report(1, b.now)
	for n := 10; n < 40; n++ {
		b.must(b.picture(n))
		b.must(b.sound(2 * n))
		b.must(b.sound(2*n + 1))
		b.now = b.now.Add(40 * time.Millisecond)
	}
	_, units := b.offset()
	if !units[0].Random || units[0].Track != 0 || units[0].PTS != 0 {
		t.Errorf("first unit %+v", units[0])
	}
	for _, u := range units {
		if u.PTS < 0 {
			t.Errorf("unit before zero: %+v", u)
		}
	}
}

// One track alone is fine, and waits for nobody's sender report but its own.
func TestOneTrack(t *testing.T) {
	for kind, f := range map[description.MediaType]format.Format{
		description.MediaTypeVideo: h264Format(testSPS, testPPS),
		description.MediaTypeAudio: &format.Opus{PayloadTyp: 97, ChannelCount: 2},
	} {
		t.Run(string(kind), func(t *testing.T) {
			b := newBenchOf(t, &description.Media{Type: kind, Formats: []format.Format{f}})
			b.report(0, b.now)
			for n := range 3 {
				b.must(b.rtp(0, b.packet(0, benchVideo+uint32(n*960), testIDR)))
			}
			if b.published == nil || len(b.published.tracks) != 1 || len(b.published.units) != 3 {
				t.Fatalf("published %+v", b.published)
			}
		})
	}
}

func TestNoKeyPicture(t *testing.T) {
	b := newBench(t)
	for n := range 31 * 50 {
		b.now = b.now.Add(20 * time.Millisecond)
		err := b.sound(n)
		if err == nil {
			continue
		}
		if !errors.Is(err, errNoPicture) || n < 29*50 {
			t.Fatalf("after %d sounds: %v", n, err)
		}
		if len(b.in.held) > maxHeldUnits {
			t.Errorf("%d units are held", len(b.in.held))
		}
		return
	}
	t.Error("still waiting")
}

// A new count of the encoder's clock moves the publication's times on by more
// than the packager takes for one run, sound and picture by the same.
func TestTimestampJump(t *testing.T) {
	for name, seconds := range map[string]int{"forward": 60 * 60, "back": -60 * 60, "back a little": -2, "again and again": 60 * 60} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.report(0, b.now)
			b.report(1, b.now)
			b.second(0)
			before, _ := b.offset()
			at := 0
			for n := 1; ; n++ {
				at += seconds
				err := b.half(at)
				if n > maxJumps && name == "again and again" {
					if !errors.Is(err, errJump) {
						t.Errorf("%d jumps: %v", n, err)
					}
					return
				}
				b.must(err)
				after, units := b.jumped(at)
				if after != before {
					t.Errorf("sound is %v later than it was", after-before)
				}
				if step := ticksToDuration(units[0].PTS, 90000); step < time.Duration(n)*maxJump || step > time.Duration(n)*(maxJump+2*time.Second) {
					t.Errorf("the first picture after %d jumps is at %v", n, step)
				}
				if name != "again and again" {
					return
				}
			}
		})
	}
}

// half sends half a second of pictures and sound from that second on.
func (b *bench) half(second int) error {
	for i := range 13 {
		for _, err := range []error{b.picture(second*25 + i), b.sound(second*50 + 2*i), b.sound(second*50 + 2*i + 1)} {
			if err != nil {
				return err
			}
		}
		b.now = b.now.Add(40 * time.Millisecond)
	}
	return nil
}

// jumped is how much later the sound is than the picture of that second, and the
// units that came, a picture first.
func (b *bench) jumped(second int) (time.Duration, []Unit) {
	b.t.Helper()
	var units []Unit
	var sound, picture time.Duration
	for len(b.published.units) > 0 {
		units = append(units, <-b.published.units)
	}
	for _, u := range units {
		if u.Track == 1 && u.Payload[0][1] == byte(second*50) {
			sound = ticksToDuration(u.PTS, 48000)
		}
	}
	picture = ticksToDuration(units[0].PTS, 90000)
	return sound - picture, units
}

// Lost packets cost the picture they belong to, are counted, and logged once
// in a while.
func TestLossIsCounted(t *testing.T) {
	b := newBench(t)
	b.report(0, b.now)
	b.report(1, b.now)
	b.second(0)
	for n := range 4 {
		b.sequence[0] += 2
		b.second(1 + n)
	}
	_, units := b.offset()
	pictures := 0
	for _, u := range units {
		if u.Track == 0 {
			pictures++
		}
	}
	if b.in.reception.lost != 8 || pictures != 5*25-4 {
		t.Errorf("%d packets lost, %d pictures", b.in.reception.lost, pictures)
	}
	if n := strings.Count(b.log.String(), "media from the publisher is lost or damaged"); n != 1 {
		t.Errorf("%d lines in 4 s: %s", n, &b.log)
	}
}

// When the queue is full the publisher is dropped, and whoever calls enqueue
// does not wait.
func TestQueueFull(t *testing.T) {
	b := newBench(t)
	for i := range maxQueuedUnits + 1 {
		if ok := b.in.enqueue(timedUnit{track: 1, arrival: b.now, payload: [][]byte{{1}}}); ok != (i < maxQueuedUnits) {
			t.Fatalf("unit %d: %v", i, ok)
		}
	}
	large := newBench(t)
	for range maxQueuedBytes / 65000 {
		if !large.in.enqueue(timedUnit{arrival: b.now, payload: [][]byte{make([]byte, 65000)}}) {
			t.Fatal("full before its bound")
		}
	}
	if large.in.enqueue(timedUnit{arrival: b.now, payload: [][]byte{make([]byte, 65000)}}) {
		t.Error("more bytes than the bound")
	}
	large.in.queue = newUnitQueue() // else it may take some before it sees
	if err := large.in.run(); !errors.Is(err, errSlow) {
		t.Errorf("dropped for %v", err)
	}
}

type panickingForm struct{ form }

func (panickingForm) shape(*timedUnit) (shaped, error) { panic("index out of range") }

type panickingDepacketizer struct{ depacketizer }

func (panickingDepacketizer) depacketize(*rtp.Packet) ([]rtpUnit, error) { panic("index out of range") }

func TestPanicEndsOnePublisher(t *testing.T) {
	for name, odd := range map[string]func(*bench){
		"form": func(b *bench) {
			b.in.tracks[1].form = panickingForm{}
			b.in.enqueue(timedUnit{track: 1, arrival: b.now, payload: [][]byte{{1}}})
		},
		"depacketizer": func(b *bench) {
			b.feed.tracks[1].depack = panickingDepacketizer{}
			b.feed.packet(1, b.packet(1, 0, []byte{1}), b.now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.report(0, b.now)
			b.report(1, b.now)
			b.second(0)
			odd(b)
			if err := b.in.run(); err == nil || !strings.Contains(err.Error(), "index out of range") {
				t.Errorf("%v", err)
			}
			select {
			case <-b.published.closed:
			default:
				t.Error("the publication is still open")
			}
		})
	}
}

// Each audio track that an encoder announces is taken, as far as it can be
// packaged; one of which nothing comes is told of.
func TestSeveralSounds(t *testing.T) {
	opus := func(payload uint8) *description.Media {
		return &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.Opus{PayloadTyp: payload, ChannelCount: 2}}}
	}
	medias := []*description.Media{
		opus(97),
		{Type: description.MediaTypeVideo, Formats: []format.Format{h264Format(testSPS, testPPS)}},
		{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G722{}}},
	}
	for range maxSounds {
		medias = append(medias, opus(98))
	}
	chosen, err := chooseEssences(readAnnounce(&description.Session{Medias: medias}).essences, 1, false)
	if err != nil || len(chosen.index) != 1+maxSounds || chosen.index[0] != 1 || chosen.index[1] != 0 || len(chosen.dropped) != 2 {
		t.Fatalf("chosen %v, dropped %v, %v", chosen.index, chosen.dropped, err)
	}

	b := newBench(t)
	for n := range 30 { // pictures alone, for longer than sound is waited for
		b.must(b.picture(n))
		b.now = b.now.Add(40 * time.Millisecond)
	}
	if b.published == nil || b.published.tracks[0].Missing || !b.published.tracks[1].Missing {
		t.Errorf("published: %+v", b.published)
	}
}

// Reports may come behind the last unit that is there: by UDP they have a socket
// of their own. The publication does not wait for another unit then.
func TestReportBehindUnits(t *testing.T) {
	b := newBench(t)
	b.must(b.picture(0))
	b.must(b.sound(0))
	if b.published != nil {
		t.Fatal("has not waited for reports")
	}
	b.report(0, b.now)
	b.report(1, b.now)
	select {
	case <-b.in.tied:
		b.must(b.in.start(b.now))
	default:
	}
	if b.published == nil {
		t.Error("still waits for a unit")
	}
}
