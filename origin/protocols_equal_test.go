package origin_test

import (
	"context"
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"surgecast/origin"
)

// TestBitEqual is TestRTSPBitEqual by the other protocols.
func TestBitEqual(t *testing.T) {
	rtmp := func(scheme string, secure *tls.Config) func(context.Context, *testing.T, *origin.Gate) []string {
		return func(ctx context.Context, t *testing.T, gate *origin.Gate) []string {
			r, err := origin.NewRTMP(origin.RTMPConfig{Listen: "127.0.0.1:0", TLS: secure, Gate: gate})
			if err != nil {
				t.Fatal(err)
			}
			runBeside(ctx, t, r.Run)
			return []string{"-f", "flv", scheme + "://" + r.Addr().String() + "/theatre/curtain"}
		}
	}
	for name, c := range map[string]struct {
		tick time.Duration
		tail int
		push func(context.Context, *testing.T, *origin.Gate) []string
	}{
		"rtmp":  {time.Millisecond, 0, rtmp("rtmp", nil)},
		"rtmps": {time.Millisecond, 0, rtmp("rtmps", selfMade(t))},
		// ffmpeg hangs up with what is on its way.
		"srt": {time.Second / videoTicks, 6, func(ctx context.Context, t *testing.T, gate *origin.Gate) []string {
			s, err := origin.NewSRT(origin.SRTConfig{Listen: "127.0.0.1:0", Gate: gate})
			if err != nil {
				t.Fatal(err)
			}
			runBeside(ctx, t, s.Run)
			return []string{"-f", "mpegts", "srt://" + s.Addr().String() + "?streamid=publish:theatre:curtain"}
		}},
		// A picture is whole when the next one begins.
		"udp": {time.Second / videoTicks, 1, func(ctx context.Context, t *testing.T, gate *origin.Gate) []string {
			from := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
			u, err := origin.NewUDP(origin.UDPConfig{Listen: "127.0.0.1:0", From: from, Stream: "theatre", Key: "curtain", Gate: gate})
			if err != nil {
				t.Fatal(err)
			}
			runBeside(ctx, t, u.Run)
			return []string{"-f", "mpegts", "udp://" + u.Addr().String() + "?pkt_size=1316"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bitEqualTo(t, c.tick, c.tail, c.push)
		})
	}
}
