package origin

import (
	"context"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"
)

const cameraPassword = "not-for-the-log"

// camera is an RTSP server that plays a file with B-frames and AAC over and
// over, to those who know the password by Digest.
type camera struct {
	server *gortsplib.Server
	stream *gortsplib.ServerStream
	plays  sync.WaitGroup
	stop   context.CancelFunc
	once   sync.Once
}

// startCamera listens on a port of its own, or on that of one that was stopped;
// more are tracks that it announces and never sends.
func startCamera(t *testing.T, address string, more ...*description.Media) *camera {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	rtp, rtcp, err := listenAnyPair("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c := &camera{}
	c.server = &gortsplib.Server{
		Handler:       (*cameraHandler)(c),
		RTSPAddress:   listener.Addr().String(),
		AuthMethods:   []auth.VerifyMethod{auth.VerifyMethodDigestMD5},
		UDPRTPAddress: rtp.LocalAddr().String(), UDPRTCPAddress: rtcp.LocalAddr().String(),
		Listen:       func(string, string) (net.Listener, error) { return listener, nil },
		ListenPacket: (&RTSP{rtp: rtp, rtcp: rtcp}).listenPacket,
	}
	tracks, samples := testFile(t, "testdata/bframes.mp4")
	e := newEncoder(t, tracks)
	if err := c.server.Start(); err != nil {
		t.Fatal(err)
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Medias: append(more, e.medias...)}}
	if err := c.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(t.Context())
	c.plays.Go(func() { c.play(ctx, t, e, samples) })
	t.Cleanup(c.close)
	return c
}

// close ends the camera without a word to those who watch. Closing twice does
// nothing.
func (c *camera) close() {
	c.once.Do(func() {
		c.stop()
		c.plays.Wait()
		c.stream.Close()
		c.server.Close()
	})
}

func (c *camera) address() string { return c.server.RTSPAddress }

// play sends in real time.
func (c *camera) play(ctx context.Context, t *testing.T, e *encoder, samples []sample) {
	began := time.Now()
	for loop := int64(0); ; loop++ {
		for _, s := range samples {
			rate := e.clockRates[s.track]
			s.pts += 2 * loop * rate
			s.dts += 2 * loop * rate
			select {
			case <-time.After(time.Until(began.Add(ticksToDuration(s.dts, rate)))):
			case <-ctx.Done():
				return
			}
			for _, p := range e.packets(t, s) {
				_ = c.stream.WritePacketRTP(e.medias[s.track], p) // those who watch come and go
			}
		}
	}
}

type cameraHandler camera

func (h *cameraHandler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !ctx.Conn.VerifyCredentials(ctx.Request, "viewer", cameraPassword) {
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	return &base.Response{StatusCode: base.StatusOK}, h.stream, nil
}

func (h *cameraHandler) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, h.stream, nil
}

func (h *cameraHandler) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// pull fetches from an address until the test ends.
func pull(t *testing.T, gate *Gate, address string, transport PullTransport, password string) {
	t.Helper()
	pullInput(t, gate, address, transport, password, "")
}

// pullInput is pull for a branch of the stream.
func pullInput(t *testing.T, gate *Gate, address string, transport PullTransport, password, branch string) {
	t.Helper()
	p, err := NewPull(PullConfig{
		Stream: "theatre", Branch: branch, URL: "rtsp://" + address + "/live", User: "viewer", Password: password,
		Transport: transport, Gate: gate, Logger: gate.logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.listenPacket = listenLoopback
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// await waits for the next publication.
func (p *fakePublishers) await(t *testing.T, log *logLines) *fakePublication {
	t.Helper()
	select {
	case one := <-p.published:
		return one
	case <-time.After(15 * time.Second):
		t.Fatalf("nothing was published, log:\n%s", log)
		return nil
	}
}

// A camera is fetched by all transports, and again when it comes back after it
// was gone.
func TestRTSPPull(t *testing.T) {
	for _, transport := range []PullTransport{PullTCP, PullUDP, PullAuto} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			gate, publishers, log := testGate(GateConfig{})
			c := startCamera(t, "127.0.0.1:0")
			pull(t, gate, c.address(), transport, cameraPassword)
			first := publishers.await(t, log)
			if len(first.tracks) != 2 || first.tracks[1].Missing {
				t.Errorf("tracks %+v", first.tracks)
			}
			last := [2]int64{-1 << 62, -1 << 62}
			for _, u := range first.take(t, 60) {
				if u.DTS <= last[u.Track] || u.DTS > u.PTS {
					t.Errorf("track %d: DTS %d after %d with PTS %d", u.Track, u.DTS, last[u.Track], u.PTS)
				}
				last[u.Track] = u.DTS
			}
			c.close()
			select {
			case <-first.closed:
			case <-time.After(15 * time.Second):
				t.Fatal("the publication outlives the camera")
			}
			startCamera(t, c.address())
			if again := publishers.await(t, log); len(again.take(t, 10)) != 10 {
				t.Error("nothing comes after the camera came back")
			}
			if strings.Contains(log.String(), cameraPassword) {
				t.Errorf("the password is in the log:\n%s", log)
			}
		})
	}
}

// A camera stands by while somebody pushes, if it is the backup.
func TestRTSPPullStandsBy(t *testing.T) {
	t.Parallel()
	gate, publishers, log := testGate(GateConfig{})
	a, err := gate.admit(t.Context(), knock("theatre", testKey))
	if err != nil {
		t.Fatal(err)
	}
	in, err := opened(t, a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { in.end(errDisconnect); _ = in.run() }()
	pullInput(t, gate, startCamera(t, "127.0.0.1:0").address(), PullTCP, cameraPassword, backupBranch)
	if p := publishers.await(t, log); p.branch != backupBranch {
		t.Errorf("published to the branch %q", p.branch)
	}
}

// Sound that is not supported does not keep a camera's picture away.
func TestRTSPPullLeavesSoundOut(t *testing.T) {
	t.Parallel()
	gate, publishers, log := testGate(GateConfig{})
	c := startCamera(t, "127.0.0.1:0", &description.Media{
		Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}},
	})
	pull(t, gate, c.address(), PullTCP, cameraPassword)
	if p := publishers.await(t, log); len(p.tracks) != 2 || !p.tracks[0].Codec.IsVideo() {
		t.Errorf("tracks %+v", p.tracks)
	}
	log.await(t, "audio G711")
}

// Who pushes comes first; the camera waits and comes in when that has gone.
func TestRTSPPullYields(t *testing.T) {
	t.Parallel()
	gate, publishers, log := testGate(GateConfig{})
	a, err := gate.admit(t.Context(), knock("theatre", testKey))
	if err != nil {
		t.Fatal(err)
	}
	in, err := opened(t, a)
	if err != nil {
		t.Fatal(err)
	}
	c := startCamera(t, "127.0.0.1:0")
	pull(t, gate, c.address(), PullTCP, cameraPassword)
	log.await(t, ErrTaken.Error())
	in.end(errDisconnect)
	_ = in.run()
	publishers.await(t, log)
}

// Attempts that fail come more and more seldom, and say why without a secret.
func TestRTSPPullBacksOff(t *testing.T) {
	t.Parallel()
	gate, _, log := testGate(GateConfig{})
	c := startCamera(t, "127.0.0.1:0")
	pull(t, gate, c.address(), PullTCP, "a-wrong-password")
	form := regexp.MustCompile(`again_in=(\S+)`)
	var found [][]string
	for deadline := time.After(15 * time.Second); len(found) < 3; found = form.FindAllStringSubmatch(log.String(), -1) {
		select {
		case <-log.more:
		case <-deadline:
			t.Fatalf("log:\n%s", log)
		}
	}
	for i, least := 0, 400*time.Millisecond; i < 3; i, least = i+1, 2*least {
		pause, err := time.ParseDuration(found[i][1])
		if err != nil || pause < least || pause > least*3/2 {
			t.Errorf("pause %d is %v, %v", i, pause, err)
		}
	}
	if strings.Contains(log.String(), "a-wrong-password") || !strings.Contains(log.String(), "auth") {
		t.Errorf("log:\n%s", log)
	}
}

func TestPullConfigIsChecked(t *testing.T) {
	for _, c := range []PullConfig{
		{URL: "http://192.0.2.1/live"},
		{URL: "rtsp://viewer:secret-word@192.0.2.1/live"},
		{URL: "rtsp:///live"},
		{URL: "rtsp://viewer:secret-word@192.0.2.1:port/live"},
		{URL: "rtsp://192.0.2.1/live", Transport: "sctp"},
	} {
		if _, err := NewPull(c); err == nil || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// FuzzDescription reads what an encoder or a camera says of its tracks.
func FuzzDescription(f *testing.F) {
	f.Add([]byte(testSDP))
	f.Add([]byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z2QADKw7ULBLQgAAAwACAAADAD0I,aO48gA==\r\na=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\na=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190\r\n"))
	f.Add([]byte("v=0\r\ns=-\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=sendonly\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var session description.Session
		var parsed sdp.SessionDescription
		if parsed.Unmarshal(text) != nil || session.Unmarshal(&parsed) != nil {
			return
		}
		announced := readAnnounce(&session)
		for _, lenient := range []bool{false, true} {
			chosen, err := chooseEssences(announced.essences, 1, lenient)
			if err != nil {
				continue
			}
			for _, i := range chosen.index {
				if announced.depacks[i] == nil || clockRate(announced.essences[i].codec) <= 0 {
					t.Fatalf("%v can't be taken", announced.essences[i])
				}
				newForm(announced.essences[i].codec)
			}
			announced.feed(chosen.index)
			chosen.notes()
		}
	})
}
