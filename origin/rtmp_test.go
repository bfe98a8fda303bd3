package origin

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/bytecounter"
	"github.com/bluenviron/gortmplib/pkg/message"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

type rtmpServer struct {
	*RTMP
	publishers *fakePublishers
	log        *logLines
}

// startRTMP runs a server on a port of its own until the test ends.
func startRTMP(t *testing.T, gate GateConfig, secure *tls.Config, configure ...func(*RTMP)) *rtmpServer {
	t.Helper()
	s := &rtmpServer{}
	config := RTMPConfig{Listen: "127.0.0.1:0", TLS: secure}
	config.Gate, s.publishers, s.log = testGate(gate)
	config.Logger = config.Gate.logger
	var err error
	if s.RTMP, err = NewRTMP(config); err != nil {
		t.Fatal(err)
	}
	for _, c := range configure {
		c(s.RTMP)
	}
	runUntilEnd(t, s.Run)
	return s
}

// TestRTMPFromFFmpeg lets ffmpeg push a file with B-frames in real time, in the
// clear and over TLS: what comes out is what the file has, to the byte.
func TestRTMPFromFFmpeg(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	for scheme, secure := range map[string]*tls.Config{"rtmp": nil, "rtmps": selfSigned(t)} {
		path, branch := "/theatre/", ""
		if secure != nil {
			path, branch = "/theatre/720/", "720"
		}
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := startRTMP(t, GateConfig{}, secure)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began := time.Now()
			push := exec.CommandContext(ctx, ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-re",
				"-i", "testdata/bframes.mp4", "-c", "copy", "-f", "flv", scheme+"://"+s.Addr().String()+path+testKey)
			if output, err := push.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s\nlog:\n%s", err, output, s.log)
			}
			p := await(t, s.publishers, s.log)
			<-p.closed
			if p.stream != "theatre" || p.branch != branch {
				t.Errorf("published to %q, branch %q", p.stream, p.branch)
			}
			checkPushedFile(t, p.take(t, 1<<20), began, 2*time.Millisecond, 0)
			if strings.Contains(s.log.String(), testKey) {
				t.Errorf("the log has the key:\n%s", s.log)
			}
		})
	}
}

// await waits for the next publication.
func await(t *testing.T, publishers *fakePublishers, log *logLines) *fakePublication {
	t.Helper()
	select {
	case p := <-publishers.published:
		return p
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing was published, log:\n%s", log)
		return nil
	}
}

// checkPushedFile compares units with the file that was pushed; tolerance is
// what the protocol's ticks cost (RTMP counts in milliseconds), tail how many
// pictures may be missing at the end.
func checkPushedFile(t *testing.T, units []Unit, began time.Time, tolerance time.Duration, tail int) {
	t.Helper()
	tracks, samples := testFile(t, "testdata/bframes.mp4")
	var pictures, frames int
	skipped := 0 // sound from before the first picture is left out
	for _, u := range units {
		rate := int64(tracks[u.Track].ClockRate)
		var want sample
		if u.Track == 0 {
			want = nthOfTrack(samples, 0, pictures)
			pictures++
		} else {
			if frames == 0 {
				for skipped < 4 && !bytes.Equal(u.Payload[0], nthOfTrack(samples, 1, skipped).payload[0]) {
					skipped++
				}
			}
			want = nthOfTrack(samples, 1, skipped+frames)
			frames++
		}
		if off := ticksToDuration(u.PTS-want.pts, rate); off.Abs() > tolerance {
			t.Errorf("track %d: PTS %d is off by %v", u.Track, u.PTS, off)
		}
		if u.Random != want.random || u.DTS > u.PTS {
			t.Errorf("track %d: PTS %d DTS %d Random %v", u.Track, u.PTS, u.DTS, u.Random)
		}
		if !sameMedia(u.Payload, want.payload) {
			t.Errorf("track %d: other bytes at PTS %d", u.Track, u.PTS)
		}
		if since := u.WallTime.Add(-ticksToDuration(u.PTS, rate)).Sub(began); since < -100*time.Millisecond || since > 5*time.Second {
			t.Errorf("track %d: dated %v after the start", u.Track, since)
		}
	}
	if pictures < 50-tail || pictures > 50 || frames < 60 {
		t.Errorf("%d pictures, %d audio frames", pictures, frames)
	}
}

// An encoder with the wrong key, or none, is refused and told so; so is one who
// wants to read.
func TestRTMPRefuses(t *testing.T) {
	s := startRTMP(t, GateConfig{}, nil)
	for name, c := range map[string]struct {
		path    string
		publish bool
	}{
		"wrong key":      {"/theatre/0123456789abcdef-the-wrong-key", true},
		"no key":         {"/theatre", true},
		"unknown stream": {"/hall/" + testKey, true},
		"reader":         {"/theatre/" + testKey, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := &gortmplib.Client{
				URL:     &url.URL{Scheme: "rtmp", Host: s.Addr().String(), Path: c.path},
				Publish: c.publish,
			}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			if err := client.Initialize(ctx); err == nil {
				client.Close()
				t.Error("let in")
			}
		})
	}
	if log := s.log.String(); strings.Contains(log, "key-") || strings.Contains(log, testKey) || strings.Contains(log, "the-wrong-key") {
		t.Errorf("the log has a key:\n%s", log)
	}
}

// Who sends half a handshake, of RTMP or of TLS, is dropped in time, and 200 of
// them do not keep a good encoder out.
func TestRTMPHalfHandshakes(t *testing.T) {
	for scheme, c := range map[string]struct {
		secure *tls.Config
		half   []byte
	}{
		"rtmp":  {nil, []byte{3, 0, 0, 0}},
		"rtmps": {selfSigned(t), []byte{0x16, 3, 1, 2, 0, 1}},
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := startRTMP(t, GateConfig{}, c.secure, func(r *RTMP) { r.listener.handshake = 2 * time.Second })
			wait := halfHandshakes(t, s.Addr(), c.half)
			client := &gortmplib.Client{
				URL:       &url.URL{Scheme: scheme, Host: s.Addr().String(), Path: "/theatre/" + testKey},
				Publish:   true,
				TLSConfig: &tls.Config{InsecureSkipVerify: true},
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := client.Initialize(ctx); err != nil {
				t.Fatalf("a good encoder: %v\n%s", err, s.log)
			}
			client.Close()
			wait()
		})
	}
}

// halfHandshakes begins 200 connections, and wait holds that all get closed.
func halfHandshakes(t *testing.T, address net.Addr, half []byte) (wait func()) {
	t.Helper()
	conns := make([]net.Conn, 200)
	for i := range conns {
		conn, err := net.Dial("tcp", address.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write(half); err != nil {
			t.Log(err) // it had to make room already
		}
		conns[i] = conn
	}
	return func() {
		t.Helper()
		for _, conn := range conns {
			awaitClosed(t, conn)
		}
	}
}

// Who has shown the key and sends nothing does not stay.
func TestRTMPKeyWithoutMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &places{maxTotal: 1, maxPerAddress: 1, logger: slog.New(slog.DiscardHandler)}
		place, _ := p.take(netip.MustParseAddr("192.0.2.1"), func() {})
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := newPendingConn(ours, handshakeTimeout, place)
		defer conn.Close()
		time.Sleep(handshakeTimeout - time.Second)
		conn.awaitMedia()
		began := time.Now()
		if _, err := theirs.Read(make([]byte, 1)); err == nil || time.Since(began) != mediaTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func isTimeout(err error) bool {
	failed, ok := err.(net.Error)
	return ok && failed.Timeout()
}

// FuzzRTMPMessages reads what an admitted encoder may send.
func FuzzRTMPMessages(f *testing.F) {
	f.Add(rtmpSeed(f))
	f.Add([]byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0}) // a chunk size of 0
	f.Fuzz(func(t *testing.T, data []byte) {
		gate, publishers, _ := testGate(GateConfig{})
		admitted, err := gate.admit(t.Context(), attempt{
			protocol: "RTMP", stream: "theatre", proof: plainKey(testKey), remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)},
		})
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan struct{})
		close(ran)
		feed := &rtmpFeed{admission: admitted, transport: "RTMP", begin: func(in *ingest) {
			ran = make(chan struct{})
			go func() { defer close(ran); _ = in.run() }()
		}}
		through := bytecounter.NewReadWriter(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(data), io.Discard})
		feed.end(feed.read(message.NewReadWriter(through, through, false)))
		<-ran
		select {
		case p := <-publishers.published:
			for range p.units {
			}
		default:
		}
	})
}

func TestRTMPTarget(t *testing.T) {
	for path, want := range map[string][3]string{
		"/theatre/KEY":      {"theatre", "", "KEY"},
		"/theatre/720/KEY":  {"theatre", "720", "KEY"},
		"/theatre/720/K/Y/": {"theatre", "720", "K/Y"},
		"theatre/K/EY":      {"theatre", "", "K/EY"},
		"//":                {"", "", ""},
	} {
		var got [3]string
		if got[0], got[1], got[2] = rtmpTarget(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// rtmpSeed is a stream with a sound.
func rtmpSeed(f *testing.F) []byte {
	var sent bytes.Buffer
	through := bytecounter.NewReadWriter(&sent)
	w := message.NewReadWriter(through, through, false)
	for _, m := range []message.Message{
		&message.Audio{
			ChunkStreamID: 4, Codec: message.CodecMPEG4Audio, Rate: message.AudioRate44100, Depth: message.AudioDepth16,
			AACType:   message.AudioAACTypeConfig,
			AACConfig: &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2},
		},
		&message.Audio{ChunkStreamID: 4, Codec: message.CodecMPEG4Audio, AACType: message.AudioAACTypeAU, AU: []byte{1, 2, 3, 4}},
		&message.Audio{ChunkStreamID: 4, DTS: 2 * time.Second, Codec: message.CodecMPEG4Audio, AACType: message.AudioAACTypeAU, AU: []byte{1, 2, 3, 4}},
	} {
		if err := w.Write(m); err != nil {
			f.Fatal(err)
		}
	}
	return sent.Bytes()
}

// sameMedia compares one audio frame, or the slices of one picture.
func sameMedia(got, want [][]byte) bool {
	return slices.EqualFunc(slicesOf(got), slicesOf(want), bytes.Equal)
}

func slicesOf(payload [][]byte) (slices [][]byte) {
	for _, p := range payload {
		if len(payload) == 1 || len(p) > 0 && p[0]&0x1f >= 1 && p[0]&0x1f <= 5 {
			slices = append(slices, p)
		}
	}
	return slices
}

// selfSigned is a certificate that nobody vouches for.
func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
}
