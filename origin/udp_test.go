package origin

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"
)

// TestUDPFromFFmpeg lets ffmpeg send a file as MPEG-TS over UDP, after a sender
// that is not allowed has sent the same.
func TestUDPFromFFmpeg(t *testing.T) {
	ffmpeg := ffmpegWith(t, "udp")
	t.Parallel()
	config := UDPConfig{Listen: "127.0.0.1:0", From: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Stream: "theatre", Key: testKey}
	gate, publishers, log := testGate(GateConfig{})
	config.Gate, config.Logger = gate, gate.logger
	u, err := NewUDP(config)
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, u.Run)

	stranger := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 77)}
	conn, err := net.DialUDP("udp", stranger, u.Addr().(*net.UDPAddr))
	if err != nil {
		t.Skip(err) // no second loopback address here
	}
	defer conn.Close()
	if _, err := conn.Write(tsSound(t)[:7*mpegtsPacket]); err != nil {
		t.Fatal(err)
	}
	push, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	for range 2 { // it comes again after it has ended
		began := time.Now()
		output, err := exec.CommandContext(push, ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-re",
			"-i", "testdata/bframes.mp4", "-c", "copy", "-f", "mpegts", "udp://"+u.Addr().String()+"?pkt_size=1316").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		p := await(t, publishers, log)
		<-p.closed
		if len(p.tracks) != 2 {
			t.Errorf("%d tracks", len(p.tracks))
		}
		checkPushedFile(t, p.take(t, 1<<20), began, time.Millisecond, 1)
	}
}
