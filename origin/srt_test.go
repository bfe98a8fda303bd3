package origin

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"
	srtpacket "github.com/datarhei/gosrt/packet"
)

type srtServer struct {
	*SRT
	publishers *fakePublishers
	log        *logLines
}

// startSRT runs a server on a port of its own until the test ends.
func startSRT(t *testing.T, passphrase string) *srtServer {
	t.Helper()
	s := &srtServer{}
	config := SRTConfig{Listen: "127.0.0.1:0", Passphrase: passphrase}
	config.Gate, s.publishers, s.log = testGate(GateConfig{})
	config.Logger = config.Gate.logger
	var err error
	if s.SRT, err = NewSRT(config); err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, s.Run)
	return s
}

// TestSRTFromFFmpeg lets ffmpeg push a file with B-frames in real time, with a
// passphrase and without: what comes out is what the file has, to the byte.
func TestSRTFromFFmpeg(t *testing.T) {
	ffmpeg := ffmpegWith(t, "srt")
	for name, passphrase := range map[string]string{"open": "", "encrypted": "secret-of-the-theatre"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSRT(t, passphrase)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began := time.Now()
			url := "srt://" + s.Addr().String() + "?streamid=publish:theatre/720:" + testKey
			if passphrase != "" {
				url += "&passphrase=" + passphrase
			}
			push := exec.CommandContext(ctx, ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-re",
				"-i", "testdata/bframes.mp4", "-c", "copy", "-f", "mpegts", url)
			if output, err := push.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s\nlog:\n%s", err, output, s.log)
			}
			p := await(t, s.publishers, s.log)
			<-p.closed
			// ffmpeg hangs up at the end of the file with what is on its way.
			checkPushedFile(t, p.take(t, 1<<20), began, time.Millisecond, 6)
			if strings.Contains(s.log.String(), testKey) {
				t.Errorf("the log has the key:\n%s", s.log)
			}
		})
	}
}

// ffmpegWith finds ffmpeg when it speaks a protocol.
func ffmpegWith(t *testing.T, protocol string) string {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	protocols, err := exec.CommandContext(t.Context(), ffmpeg, "-hide_banner", "-protocols").Output()
	if err != nil || !bytes.Contains(protocols, []byte(" "+protocol+"\n")) {
		t.Skipf("this ffmpeg does not speak %s", protocol)
	}
	return ffmpeg
}

// Callers without the right key are refused, and so is who encrypts otherwise
// than asked.
func TestSRTRefuses(t *testing.T) {
	open, encrypted := startSRT(t, ""), startSRT(t, "secret-of-the-theatre")
	for name, c := range map[string]struct {
		server     *srtServer
		streamID   string
		passphrase string
	}{
		"wrong key":        {open, "publish:theatre:0123456789abcdef-the-wrong-key", ""},
		"unknown stream":   {open, "publish:hall:" + testKey, ""},
		"unknown branch":   {open, "publish:theatre/900:" + testKey, ""},
		"no stream id":     {open, "", ""},
		"reader":           {open, "read:theatre:" + testKey, ""},
		"encrypted":        {open, "publish:theatre:" + testKey, "secret-of-the-theatre"},
		"not encrypted":    {encrypted, "publish:theatre:" + testKey, ""},
		"wrong passphrase": {encrypted, "publish:theatre:" + testKey, "secret-of-the-hall"},
	} {
		t.Run(name, func(t *testing.T) {
			config := srt.DefaultConfig()
			config.StreamId, config.Passphrase = c.streamID, c.passphrase
			conn, err := srt.Dial("srt", c.server.Addr().String(), config)
			if err == nil {
				conn.Close()
				t.Error("let in")
			}
		})
	}
	for _, s := range []*srtServer{open, encrypted} {
		if log := s.log.String(); strings.Contains(log, testKey) || strings.Contains(log, "the-wrong-key") {
			t.Errorf("the log has a key:\n%s", log)
		}
	}
}

// Datagrams that are no SRT, and 200 callers that say half a hello, do not keep
// a good one out.
func TestSRTJunk(t *testing.T) {
	s := startSRT(t, "")
	junk, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer junk.Close()
	// A hello with an extension of one byte, which makes the library panic.
	crooked := append([]byte{0x80, 15: 0}, "\x00\x00\x00\x00\x00\x00\xff\x00\xf7\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"+
		"\xcf\xcf\xcf\xcf\xff\x00\x00\x01\x00\xb0\xc5\xec\xc6\xf5\x01\x00\x00\x00\x00\x00\xff\x00\x00\x00\x00"...)
	for _, datagram := range [][]byte{crooked, {0}, bytes.Repeat([]byte{0x80}, 64), bytes.Repeat([]byte{0xff}, 1500), make([]byte, 48), []byte("GET / HTTP/1.1\r\n\r\n")} {
		for range 200 {
			if _, err := junk.Write(datagram); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn := srtConnect(t, s)
	conn.Close()
	s.log.await(t, errSRTGarbage.Error())
}

// 200 callers that leave after the first half of the handshake do not delay a
// good one: nothing is kept of them.
func TestSRTHalfHandshakes(t *testing.T) {
	t.Parallel()
	s := startSRT(t, "")
	for range 200 {
		conn, err := net.Dial("udp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The kernel may have no room for a hello, and others are there to be asked.
		if _, err := conn.Write(srtInduction()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	conn := srtConnect(t, s)
	conn.Close()
	t.Logf("in after %v", time.Since(began))
}

// srtConnect calls until it gets through, as real callers do; the library calls
// once, and the kernel may have no room for its hello.
func srtConnect(t *testing.T, s *srtServer) srt.Conn {
	t.Helper()
	conn, err := srtDial(s)
	for range 4 {
		if err != nil {
			conn, err = srtDial(s)
		}
	}
	if err != nil {
		t.Fatalf("a good encoder: %v\n%s", err, s.log)
	}
	return conn
}

func srtDial(s *srtServer) (srt.Conn, error) {
	config := srt.DefaultConfig()
	config.StreamId = "publish:theatre:" + testKey
	config.ConnectionTimeout = time.Second
	return srt.Dial("srt", s.Addr().String(), config)
}

// srtInduction is the first hello of a caller.
func srtInduction() []byte {
	hello := append([]byte{0x80}, make([]byte, 15)...)         // control packet 0, to socket 0
	hello = append(hello, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 99) // version, type, sequence
	hello = append(hello, 0, 0, 5, 220, 0, 0, 32, 0, 0, 0, 0, 1, 0, 0, 0, 77)
	return append(hello, make([]byte, 20)...) // cookie, address
}

// FuzzSRTPacket reads what the library reads on goroutines of its own, where a
// panic would end the process. (Hellos it reads on ours, see accept.)
func FuzzSRTPacket(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add(bytes.Repeat([]byte{0x80, 0}, 48))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := srtpacket.NewPacketFromData(&net.UDPAddr{}, data)
		if err != nil {
			return
		}
		for _, c := range []srtpacket.CIF{
			&srtpacket.CIFHandshakeExtension{}, &srtpacket.CIFKeyMaterialExtension{},
			&srtpacket.CIFACK{}, &srtpacket.CIFNAK{}, &srtpacket.CIFShutdown{},
		} {
			_ = p.UnmarshalCIF(c) // an error is an answer
		}
	})
}
