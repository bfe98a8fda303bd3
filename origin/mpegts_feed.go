package origin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

const (
	// mpegtsClockRate is that of PTS and DTS, which have 33 bits.
	mpegtsClockRate = 90000
	mpegtsClockBits = 33

	// mpegtsProbeTime is how long a sender may take until its programme is known:
	// the table, and a frame of each AAC track, which is where AAC says what it
	// is. A table comes each half second at least. The demuxer keeps 1 MiB
	// meanwhile and gives up then, which at high rates is too early: it is tried
	// again from the next table on.
	mpegtsProbeTime = 10 * time.Second

	mpegtsPacket = 188
	mpegtsSync   = 0x47
)

var errMPEGTSProbe = fmt.Errorf("no MPEG-TS programme in %v, or an AAC track of it that sends nothing: turn off what is not used", mpegtsProbeTime)

// mpegtsFeed turns the bytes of one publisher's MPEG-TS into units. Only the
// elementary streams of the programme's table that are published pass. One
// goroutine uses it.
//
// A picture is whole when the next one begins: MPEG-TS does not tell its length.
type mpegtsFeed struct {
	admission *admission
	transport string
	line      func() lineHealth // nil: nothing is known
	begin     func(*ingest)     // runs an ingest
	zero      time.Duration     // taken off all times

	ingest *ingest // nil until it is open
	clock  unwrapper
}

// read takes bytes until there are no more, and returns why.
func (f *mpegtsFeed) read(from io.Reader) (err error) {
	defer func() { // the parsers are other people's
		if r := recover(); r != nil {
			err = panicError(r)
		}
	}()
	f.clock.bits = mpegtsClockBits
	reader, err := probeMPEGTS(from)
	if err != nil {
		return err
	}
	if err := f.open(reader); err != nil {
		return err
	}
	reader.OnDecodeError(func(err error) { f.ingest.reception.damage(time.Now(), err) })
	for {
		if err := reader.Read(); err != nil {
			if errors.Is(err, io.EOF) {
				return errDisconnect
			}
			return err
		}
	}
}

// end tells the ingest why nothing comes any more.
func (f *mpegtsFeed) end(reason error) { f.admission.end(f.ingest, reason) }

// open begins the ingest with what the programme's table has.
func (f *mpegtsFeed) open(reader *mpegts.Reader) (err error) {
	tracks := reader.Tracks() // 64 at most: the table is 1 kB
	essences := make([]essence, len(tracks))
	for i, track := range tracks {
		essences[i] = mpegtsEssence(track.Codec)
	}
	if f.ingest, err = f.admission.open(announcement{transport: f.transport, tracks: essences, line: f.line}); err != nil {
		return err
	}
	f.begin(f.ingest)
	for i, track := range tracks {
		f.receive(reader, i, track)
	}
	return nil
}

// mpegtsEssence is what the table, and of AAC a frame, tell of a track.
// Parameter sets of pictures come with them.
func mpegtsEssence(codec tscodecs.Codec) essence {
	switch c := codec.(type) {
	case *tscodecs.H264:
		return newEssence(&codecs.H264{})
	case *tscodecs.H265:
		return newEssence(&codecs.H265{})
	case *tscodecs.MPEG4Audio:
		return newEssence(&codecs.MPEG4Audio{Config: c.Config})
	case *tscodecs.Opus:
		return newEssence(&codecs.Opus{ChannelCount: c.Desc.ChannelCount()})
	case *tscodecs.MPEG1Video, *tscodecs.MPEG4Video:
		return unsupported(essenceVideo, "MPEG-1, 2 or 4 video")
	case *tscodecs.MPEG1Audio:
		return unsupported(essenceAudio, "MPEG audio")
	case *tscodecs.AC3, *tscodecs.EAC3:
		return unsupported(essenceAudio, "AC-3")
	case *tscodecs.MPEG4AudioLATM:
		return unsupported(essenceAudio, "AAC as LATM")
	}
	return essence{kind: essenceOther, name: "private data"}
}

// receive leads the units of a track into the ingest.
func (f *mpegtsFeed) receive(reader *mpegts.Reader, track int, of *mpegts.Track) {
	picture := func(pts, dts int64, au [][]byte) error { return f.unit(track, pts, dts, au) }
	switch c := of.Codec.(type) {
	case *tscodecs.H264:
		reader.OnDataH264(of, picture)
	case *tscodecs.H265:
		reader.OnDataH265(of, picture)
	case *tscodecs.MPEG4Audio:
		rate := int64(max(c.Config.SampleRate, 1))
		reader.OnDataMPEG4Audio(of, func(pts int64, frames [][]byte) error {
			const samples = 1024 // of AAC-LC; anything else is not published
			return f.frames(track, pts, frames, func(int) int64 { return samples * mpegtsClockRate / rate })
		})
	case *tscodecs.Opus:
		reader.OnDataOpus(of, func(pts int64, frames [][]byte) error {
			return f.frames(track, pts, frames, func(i int) int64 {
				return opus.PacketDuration2(frames[i]) * mpegtsClockRate / opusClockRate
			})
		})
	}
}

// frames takes audio frames that follow one another from a PTS on; ticks is how
// long one lasts.
func (f *mpegtsFeed) frames(track int, pts int64, frames [][]byte, ticks func(i int) int64) error {
	for i, frame := range frames {
		if err := f.unit(track, pts, pts, [][]byte{frame}); err != nil {
			return err
		}
		pts += ticks(i)
	}
	return nil
}

// unit gives a unit to the ingest.
func (f *mpegtsFeed) unit(track int, pts, dts int64, payload [][]byte) error {
	decoded := f.clock.take(uint64(dts))
	u := timedUnit{
		track:    track,
		pts:      ticksToDuration(decoded+pts-dts, mpegtsClockRate),
		dts:      ticksToDuration(decoded, mpegtsClockRate),
		dtsKnown: true,
		arrival:  time.Now(),
		payload:  payload,
	}
	if pts < dts { // the count began anew between them
		u.pts = ticksToDuration(f.clock.extend(uint64(pts)), mpegtsClockRate)
	}
	u.pts, u.dts = u.pts-f.zero, u.dts-f.zero
	if !f.ingest.enqueue(u) {
		return errDisconnect // it knows better
	}
	return nil
}

// probeMPEGTS finds the programme.
func probeMPEGTS(from io.Reader) (*mpegts.Reader, error) {
	noted := &readError{from: from}
	packets := bufio.NewReaderSize(noted, 7*mpegtsPacket)
	for deadline := time.Now().Add(mpegtsProbeTime); time.Now().Before(deadline); {
		if err := toTable(packets, deadline); err != nil {
			return nil, err
		}
		reader := &mpegts.Reader{R: &mpegtsSplit{from: packets}}
		err := reader.Initialize()
		switch {
		case err == nil:
			return reader, nil
		case errors.Is(noted.err, io.EOF):
			return nil, errDisconnect
		case noted.err != nil:
			return nil, fmt.Errorf("connection broken: %w", noted.err)
		}
	}
	return nil, errMPEGTSProbe
}

// toTable skips what is no MPEG-TS and the packets before the next programme
// association table.
func toTable(packets *bufio.Reader, deadline time.Time) error {
	for time.Now().Before(deadline) {
		head, err := packets.Peek(3)
		if err != nil {
			return errDisconnect
		}
		skip := 1
		if head[0] == mpegtsSync {
			if head[1]&0x1f == 0 && head[2] == 0 {
				return nil
			}
			skip = mpegtsPacket
		}
		if _, err := packets.Discard(skip); err != nil {
			return errDisconnect
		}
	}
	return errMPEGTSProbe
}

// readError remembers why reading ended, which the demuxer wraps or leaves out.
type readError struct {
	from io.Reader
	err  error
}

func (r *readError) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	if err != nil {
		r.err = err
	}
	return n, err
}
