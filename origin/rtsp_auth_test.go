package origin

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

const testSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
	"m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 sprop-stereo=1\r\na=control:trackID=0\r\n"

// rawRTSP is a client that sends what it is told to.
type rawRTSP struct {
	net.Conn
	reader  *bufio.Reader
	cseq    int
	session base.Header // after record
}

func dialRTSP(t *testing.T, s *testServer) *rawRTSP {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rawRTSP{Conn: conn, reader: bufio.NewReader(conn)}
}

func (c *rawRTSP) do(t *testing.T, method base.Method, url string, header base.Header, body string) *base.Response {
	t.Helper()
	c.cseq++
	if header == nil {
		header = base.Header{}
	}
	header["CSeq"] = base.HeaderValue{fmt.Sprint(c.cseq)}
	u, err := base.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	request, err := base.Request{Method: method, URL: u, Header: header, Body: []byte(body)}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var response base.Response
	if err := response.Unmarshal(c.reader); err != nil {
		t.Fatal(err)
	}
	return &response
}

func (c *rawRTSP) announce(t *testing.T, s *testServer, stream, user, key string) *base.Response {
	t.Helper()
	header := base.Header{"Content-Type": base.HeaderValue{"application/sdp"}}
	if user != "" {
		header["Authorization"] = base.HeaderValue{"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+key))}
	}
	return c.do(t, base.Announce, "rtsp://"+s.Addr().String()+"/"+stream, header, testSDP)
}

func TestRTSPBasic(t *testing.T) {
	s := startRTSP(t, GateConfig{})
	c := dialRTSP(t, s)
	asked := c.announce(t, s, "theatre", "", "")
	if asked.StatusCode != base.StatusUnauthorized || len(asked.Header["WWW-Authenticate"]) != 2 {
		t.Fatalf("without credentials: %v %v", asked.StatusCode, asked.Header)
	}
	if got := c.announce(t, s, "theatre", "publish", testKey); got.StatusCode != base.StatusOK {
		t.Errorf("right key: %v", got.StatusCode)
	}
}

// A wrong key and an unknown stream look the same, and no key gets into the
// log, neither the right nor the wrong one.
func TestRTSPWrongKey(t *testing.T) {
	const wrongKey = "an-entirely-wrong-key"
	s := startRTSP(t, GateConfig{})
	for name, c := range map[string]struct{ stream, user, key string }{
		"key":    {"theatre", "publish", wrongKey},
		"user":   {"theatre", "admin", testKey},
		"stream": {"kitchen", "publish", testKey},
		"swap":   {testKey, "publish", wrongKey},
	} {
		got := dialRTSP(t, s).announce(t, s, c.stream, c.user, c.key)
		if got.StatusCode != base.StatusUnauthorized || len(got.Body) > 0 || len(got.Header["WWW-Authenticate"]) > 0 {
			t.Errorf("wrong %s: %v %v %q", name, got.StatusCode, got.Header, got.Body)
		}
	}
	s.gate.failures.byAddress = map[netip.Addr]failure{} // else the next ones wait
	for _, url := range []string{s.url(wrongKey, "theatre"), s.url(testKey, "kitchen")} {
		err := publishDigest(url)
		if status := (liberrors.ErrClientBadStatusCode{}); !errors.As(err, &status) || status.Code != base.StatusUnauthorized {
			t.Errorf("digest: %v", err)
		}
	}
	s.log.await(t, "wrong key or unknown stream")
	for _, secret := range []string{wrongKey, testKey, base64.StdEncoding.EncodeToString([]byte("publish:" + wrongKey))} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, s.log)
		}
	}
}

// publishDigest announces with gortsplib's client, which prefers Digest.
func publishDigest(url string) error {
	transport := gortsplib.TransportTCP
	client := &gortsplib.Client{Transport: &transport}
	media := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.Opus{PayloadTyp: 96, ChannelCount: 2}}}
	if err := client.StartRecording(url, &description.Session{Medias: []*description.Media{media}}); err != nil {
		return err
	}
	client.Close()
	return nil
}

func TestRTSPReadingIsRefused(t *testing.T) {
	s := startRTSP(t, GateConfig{})
	for _, method := range []base.Method{base.Describe, base.Setup, base.Play, base.Pause} {
		header := base.Header{"Transport": base.HeaderValue{"RTP/AVP/TCP;unicast;interleaved=0-1"}}
		got := dialRTSP(t, s).do(t, method, "rtsp://"+s.Addr().String()+"/theatre/trackID=0", header, "")
		if got.StatusCode < 400 {
			t.Errorf("%s: %v", method, got.StatusCode)
		}
	}
}

// testSPS422 is 640×360, High 4:2:2, 8 bit.
var testSPS422 = []byte{0x67, 0x7a, 0x00, 0x1e, 0xbc, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96}

func TestRTSPRefusesCodecs(t *testing.T) {
	heAAC := &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 24000, ChannelConfig: 2, ExtensionType: mpeg4audio.ObjectTypeSBR, ExtensionSampleRate: 48000}
	for name, c := range map[string]struct {
		kind   description.MediaType
		format format.Format
		want   string
	}{
		"VP8":    {description.MediaTypeVideo, &format.VP8{PayloadTyp: 96}, "set the encoder to H.264"},
		"G.711":  {description.MediaTypeAudio, &format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}, "set the encoder to H.264"},
		"HE-AAC": {description.MediaTypeAudio, &format.MPEG4Audio{PayloadTyp: 96, Config: heAAC, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}, "AAC-LC (not HE-AAC)"},
		"4:2:2":  {description.MediaTypeVideo, &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: testSPS422, PPS: []byte{0x68, 0xeb, 0xe3, 0xcb}}, "yuv420p"},
		"data":   {description.MediaTypeApplication, &format.KLV{PayloadTyp: 96}, "neither video nor audio"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startRTSP(t, GateConfig{})
			transport := gortsplib.TransportTCP
			client := &gortsplib.Client{Transport: &transport}
			err := client.StartRecording(s.url(testKey, "theatre"), &description.Session{
				Medias: []*description.Media{{Type: c.kind, Formats: []format.Format{c.format}}},
			})
			var status liberrors.ErrClientBadStatusCode
			if !errors.As(err, &status) || status.Code != base.StatusUnsupportedMediaType || !strings.Contains(status.Message, c.want) {
				t.Errorf("answer: %v", err)
			}
			s.log.await(t, "encoder refused")
			if !strings.Contains(s.log.String(), c.want) {
				t.Errorf("log: %s", s.log)
			}
		})
	}
}
