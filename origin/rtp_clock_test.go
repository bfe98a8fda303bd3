package origin

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestNTPTime(t *testing.T) {
	for _, c := range []struct {
		ntp  uint64
		want time.Time
	}{
		{0x83aa7e80_00000000, time.Unix(0, 0)},
		{0x83aa7e80_80000000, time.Unix(0, 500_000_000)}, // as nanoseconds this would be 2.1 s
		{0x83aa7e80_ffffffff, time.Unix(1, 0)},
		{0xffffffff_00000000, time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC)},
		{0x00000000_00000000, time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)},
		{0x00000001_40000000, time.Date(2036, 2, 7, 6, 28, 17, 250_000_000, time.UTC)},
	} {
		if got := ntpTime(c.ntp); !got.Equal(c.want) {
			t.Errorf("%016x: %v instead of %v", c.ntp, got.UTC(), c.want.UTC())
		}
	}
	now := time.Now()
	if off := ntpTime(ntpTimestamp(now)).Sub(now); off.Abs() > time.Nanosecond {
		t.Errorf("there and back: off by %v", off)
	}
}

func TestTimestampsAreExtended(t *testing.T) {
	c := newTrackClock(90000)
	now := time.Now()
	var got []int64
	for _, timestamp := range []uint32{0xfffffff0, 0x00000010, 0xfffffffe, 0x00000020, 0x7fffffff, 0xfffffffe, 0x00000001} {
		got = append(got, c.packet(1, timestamp, now))
	}
	want := []int64{0xfffffff0, 0x100000010, 0xfffffffe, 0x100000020, 0x17fffffff, 0x1fffffffe, 0x200000001}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %x instead of %x", i, got[i], want[i])
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		ticks, rate int64
		want        time.Duration
	}{
		{90000, 90000, time.Second},
		{-1, 90000, -11111},
		{44100*3600*24*300 + 1, 44100, 300*24*time.Hour + 22675},
		{1 << 40, 48000, 22906492*time.Second + 245333333},
	} {
		if got := ticksToDuration(c.ticks, c.rate); got != c.want {
			t.Errorf("%d/%d: %v instead of %v", c.ticks, c.rate, got, c.want)
		}
		if back := durationToTicks(c.want, c.rate); back != c.ticks {
			t.Errorf("%v at %d: %d instead of %d", c.want, c.rate, back, c.ticks)
		}
	}
}

func TestSenderReports(t *testing.T) {
	now := time.Now()
	c := newTrackClock(48000)
	if !c.senderReport(&rtcp.SenderReport{SSRC: 7, NTPTime: 0, RTPTime: 5}, now) || c.reported {
		t.Error("a report without wall clock was used")
	}
	if !c.senderReport(&rtcp.SenderReport{SSRC: 9, NTPTime: ntpTimestamp(now), RTPTime: 5}, now) || !c.reported {
		t.Error("the report before the first packet was not used")
	}
	first := c.packet(7, 1000, now)
	if c.reported {
		t.Error("a report about another sender was used")
	}
	if got := c.wallTime(first, now.Add(time.Minute)); !got.Equal(now.Add(time.Minute)) {
		t.Errorf("not the arrival time: %v", got)
	}
	wall := now.Add(-time.Hour)
	c.senderReport(&rtcp.SenderReport{SSRC: 7, NTPTime: ntpTimestamp(wall), RTPTime: 1<<32 + 1000 - 48000}, now)
	if off := c.wallTime(first, now).Sub(wall.Add(time.Second)); off.Abs() > time.Microsecond {
		t.Errorf("wall time is off by %v", off)
	}
	if c.senderReport(&rtcp.SenderReport{SSRC: 7, NTPTime: ntpTimestamp(now.AddDate(-50, 0, 0)), RTPTime: 1000}, now) || !c.reported || c.sane {
		t.Error("a report from 50 years ago was taken for sane")
	}
	if got := c.wallTime(first, now); !got.Equal(now) {
		t.Errorf("not the arrival time: %v", got)
	}
}

// FuzzSenderReport feeds RTCP as it comes from the network.
func FuzzSenderReport(f *testing.F) {
	now := time.Date(2026, 9, 12, 18, 0, 0, 0, time.UTC)
	for _, report := range []rtcp.SenderReport{
		{},
		{SSRC: 1, NTPTime: ntpTimestamp(now), RTPTime: 1 << 31},
		{SSRC: 2, NTPTime: 1<<64 - 1, RTPTime: 1<<32 - 1, Reports: []rtcp.ReceptionReport{{SSRC: 3}}},
	} {
		raw, err := report.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint32(0))
		f.Add(append(raw, raw...), uint32(1<<31+5))
	}
	f.Fuzz(func(t *testing.T, raw []byte, timestamp uint32) {
		packets, err := rtcp.Unmarshal(raw)
		if err != nil {
			return
		}
		c := newTrackClock(90000)
		for i, p := range packets {
			report, ok := p.(*rtcp.SenderReport)
			if !ok {
				continue
			}
			c.senderReport(report, now)
			extended := c.packet(report.SSRC, timestamp+uint32(i), now)
			wall := c.wallTime(extended, now)
			if c.reported && c.sane {
				// A day, and what 2^31 ticks can add.
				if wall.Sub(now).Abs() > maxWallClockError+8*time.Hour {
					t.Errorf("%v is taken for sane", wall)
				}
				if back := c.report.timestampAt(wall, 90000); back != extended {
					t.Errorf("timestamp %d comes back as %d", extended, back)
				}
			}
		}
	})
}
