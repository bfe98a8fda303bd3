package origin

import (
	"time"

	"github.com/pion/rtcp"
)

// How the times of RTP become ours: each track has its own random origin and
// rate, and only the sender reports of RTCP tie the tracks together and to
// the wall clock. Arrival times are the fallback; they carry the jitter of the
// network and of the encoder's send order into the lip sync.

// maxWallClockError is how far the encoder's wall clock may be off ours before
// its dates are ignored. One day: a wrong time zone still passes, a camera
// that counts from 1970 does not.
const maxWallClockError = 24 * time.Hour

// ntpSecondsAt1970 is the Unix epoch in NTP seconds.
const ntpSecondsAt1970 = 2208988800

// ntpTime converts a 64-bit NTP timestamp: seconds since 1900 in the upper
// half, binary fractions of a second in the lower. Seconds below 2^31 belong
// to the era that begins in 2036 (RFC 4330, section 3).
func ntpTime(ntp uint64) time.Time {
	seconds := int64(ntp >> 32)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	nanoseconds := (ntp&0xffffffff)*uint64(time.Second) + 1<<31
	return time.Unix(seconds-ntpSecondsAt1970, int64(nanoseconds>>32))
}

// reference says which wall clock time belongs to which RTP timestamp.
type reference struct {
	timestamp int64 // extended, in ticks
	wall      time.Time
}

// wallTime returns the wall clock time of an extended timestamp.
func (r reference) wallTime(timestamp, clockRate int64) time.Time {
	return r.wall.Add(ticksToDuration(timestamp-r.timestamp, clockRate))
}

// timestampAt is the reverse of wallTime.
func (r reference) timestampAt(wall time.Time, clockRate int64) int64 {
	return r.timestamp + durationToTicks(wall.Sub(r.wall), clockRate)
}

// ticksToDuration converts without overflow for any time difference that fits
// into a Duration, by treating whole seconds and the rest apart.
func ticksToDuration(ticks, clockRate int64) time.Duration {
	seconds, rest := ticks/clockRate, ticks%clockRate
	return time.Duration(seconds)*time.Second + time.Duration(rest)*time.Second/time.Duration(clockRate)
}

// durationToTicks rounds to the nearest tick.
func durationToTicks(d time.Duration, clockRate int64) int64 {
	seconds, rest := int64(d/time.Second), int64(d%time.Second)*clockRate
	half := int64(time.Second / 2)
	if rest < 0 {
		half = -half
	}
	return seconds*clockRate + (rest+half)/int64(time.Second)
}

// trackClock extends the 32-bit timestamps of one track and remembers what its
// sender reports say. The rtpFeed's lock guards it.
type trackClock struct {
	clockRate int64

	timestamps unwrapper // running from the first packet or report on
	ssrc       uint32    // of the RTP packets, once there was one
	packets    int       // RTP packets seen

	report   reference // the newest sender report
	reported bool
	sane     bool // the report's wall clock is within maxWallClockError of ours

	// earliest is the reference by arrival: of all packets so far the one that
	// came soonest after its timestamp, hence with the least network delay.
	earliest reference
}

func newTrackClock(clockRate int) trackClock {
	return trackClock{clockRate: int64(clockRate), timestamps: unwrapper{bits: 32}}
}

// extend maps a 32-bit timestamp to the extended one nearest to the newest
// packet's.
func (c *trackClock) extend(timestamp uint32) int64 { return c.timestamps.extend(uint64(timestamp)) }

// packet extends the timestamp of an RTP packet that came at arrival.
func (c *trackClock) packet(ssrc, timestamp uint32, arrival time.Time) int64 {
	if c.packets == 0 && c.reported && c.ssrc != ssrc {
		// The report that came before the first packet was about something else.
		c.reported, c.sane, c.timestamps.running = false, false, false
	}
	c.ssrc = ssrc
	newest := c.timestamps.take(uint64(timestamp))
	if c.packets == 0 || arrival.Before(c.earliest.wallTime(newest, c.clockRate)) {
		c.earliest = reference{timestamp: newest, wall: arrival}
	}
	c.packets++
	return newest
}

// senderReport takes in a report. Reports about other senders and those
// without a wall clock (zero, RFC 3550 section 6.4.1) change nothing. It
// returns false when the report's wall clock is absurd: such a report still
// ties the tracks together, since all have the same wrong clock.
func (c *trackClock) senderReport(report *rtcp.SenderReport, now time.Time) bool {
	if report.NTPTime == 0 || (c.packets > 0 && report.SSRC != c.ssrc) {
		return true
	}
	if c.packets == 0 {
		c.ssrc = report.SSRC
	}
	c.report = reference{timestamp: c.extend(report.RTPTime), wall: ntpTime(report.NTPTime)}
	c.reported = true
	c.sane = now.Sub(c.report.wall).Abs() < maxWallClockError
	return c.sane
}

// wallTime is the wall clock time of an extended timestamp by the newest
// report, or the arrival time where there is no sane one.
func (c *trackClock) wallTime(timestamp int64, arrival time.Time) time.Time {
	if !c.reported || !c.sane {
		return arrival
	}
	return c.report.wallTime(timestamp, c.clockRate)
}
