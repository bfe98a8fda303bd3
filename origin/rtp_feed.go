package origin

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// maxLatencySpread is how far the latencies of the tracks, as told by their
// sender reports, may be apart. Beyond it the reports are taken for wrong.
const maxLatencySpread = 5 * time.Second

// rtpFeed turns the packets of one publisher into units, and ties the clocks of
// its tracks together by their sender reports. Packets and reports come on
// several goroutines; tracks are called by the index of what was announced.
type rtpFeed struct {
	logger *slog.Logger
	ingest *ingest // set before the first packet

	mu        sync.Mutex
	tracks    []*rtpTrack // nil for those that can't be taken
	byReports bool        // how the tracks are synchronized
	zero      time.Time   // the wall clock time of PTS 0, by reports or by arrival
	zeroHere  time.Time   // the same, by arrival
}

// rtpTrack is one track of an rtpFeed.
type rtpTrack struct {
	clock  trackClock
	depack depacketizer

	sequence      uint16
	sequenceKnown bool
	absurd        bool // its reports' wall clock was complained about
}

var _ clockTie = (*rtpFeed)(nil)

// packet takes an RTP packet. The parsers of RTP payloads are other people's; a
// panic of theirs ends this publisher, not the process.
func (f *rtpFeed) packet(track int, packet *rtp.Packet, arrival time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			f.ingest.drop(panicError(r))
		}
	}()
	t := f.tracks[track]
	t.clock.packet(packet.SSRC, packet.Timestamp, arrival)
	f.countLoss(t, packet, arrival)
	units, err := t.depack.depacketize(packet)
	if err != nil && !errors.Is(err, errLost) {
		f.ingest.reception.damage(arrival, err)
	}
	for _, unit := range units {
		f.ingest.enqueue(timedUnit{
			track:     track,
			pts:       ticksToDuration(t.clock.extend(unit.timestamp), t.clock.clockRate),
			arrival:   arrival,
			afterLoss: unit.afterLoss,
			payload:   unit.payload,
		})
	}
}

// countLoss compares sequence numbers. The packets come in order already: over
// UDP they have been through a reordering buffer.
func (f *rtpFeed) countLoss(t *rtpTrack, packet *rtp.Packet, arrival time.Time) {
	gap := packet.SequenceNumber - t.sequence - 1
	if t.sequenceKnown && gap != 0 {
		if gap >= 1<<15 { // the encoder went back and counts anew
			gap = 0
		}
		t.depack.lost(packet)
		f.ingest.reception.lose(int64(gap), arrival)
	}
	t.sequence, t.sequenceKnown = packet.SequenceNumber, true
}

// report takes a sender report.
func (f *rtpFeed) report(track int, report *rtcp.SenderReport, arrival time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tracks[track]
	if !t.clock.senderReport(report, arrival) && !t.absurd {
		t.absurd = true
		f.logger.Warn("the encoder's clock is off by more than a day, arrival times are used instead",
			"track", track, "clock", t.clock.report.wall.UTC())
	}
	f.ingest.learned()
}

// known says whether each track has packets and a sender report.
func (f *rtpFeed) known() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tracks {
		if t != nil && (t.clock.packets == 0 || !t.clock.reported) {
			return false
		}
	}
	return true
}

func (f *rtpFeed) synchronize(track int, pts time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clock := &f.tracks[track].clock
	timestamp := durationToTicks(pts, clock.clockRate)
	f.byReports = f.reportsAgree()
	f.zeroHere = clock.earliest.wallTime(timestamp, clock.clockRate)
	f.zero = f.zeroHere
	if f.byReports {
		f.zero = clock.report.wallTime(timestamp, clock.clockRate)
	} else if len(f.tracks) > 1 {
		f.logger.Warn("no usable RTCP sender reports, audio and video are synchronized by arrival",
			"waited", reportWait)
	}
}

// reportsAgree says whether all tracks that send have sender reports and these
// tell of about the same latency. It needs the lock.
func (f *rtpFeed) reportsAgree() bool {
	var least, most time.Duration
	var seen bool
	for _, t := range f.tracks {
		if t == nil || t.clock.packets == 0 {
			continue
		}
		clock := &t.clock
		if !clock.reported {
			return false
		}
		latency := clock.earliest.wall.Sub(clock.report.wallTime(clock.earliest.timestamp, clock.clockRate))
		if !seen {
			least, most, seen = latency, latency, true
		}
		least, most = min(least, latency), max(most, latency)
	}
	return most-least <= maxLatencySpread
}

// offset is on a whole tick, so that the times of all units are, too.
func (f *rtpFeed) offset(track int) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	clock := &f.tracks[track].clock
	timestamp := clock.earliest.timestampAt(f.zeroHere, clock.clockRate)
	if f.byReports && clock.reported {
		timestamp = clock.report.timestampAt(f.zero, clock.clockRate)
	}
	return ticksToDuration(timestamp, clock.clockRate)
}

func (f *rtpFeed) wallTime(track int, pts time.Duration) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	clock := &f.tracks[track].clock
	return clock.wallTime(durationToTicks(pts, clock.clockRate), time.Time{})
}
