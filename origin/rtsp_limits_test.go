package origin

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
)

// awaitClosed waits until the other side closes the connection.
func awaitClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatal("the connection is still open")
		}
	}
}

// However far the handshake got: without RECORD the connection is closed.
func TestRTSPHalfHandshake(t *testing.T) {
	s := startRTSP(t, GateConfig{}, func(r *RTSP) { r.listener.handshake = 100 * time.Millisecond })
	steps := map[string]func(*rawRTSP){
		"nothing":  func(*rawRTSP) {},
		"half":     func(c *rawRTSP) { _, _ = c.Write([]byte("ANNOUNCE rtsp://127.0.0.1/theatre RTSP/1.0\r\nCSeq: 1\r\n")) },
		"options":  func(c *rawRTSP) { c.do(t, base.Options, "rtsp://"+s.Addr().String()+"/theatre", nil, "") },
		"announce": func(c *rawRTSP) { c.announce(t, s, "theatre", "publish", testKey) },
		"setup": func(c *rawRTSP) {
			c.announce(t, s, "theatre", "publish", testKey)
			c.do(t, base.Setup, "rtsp://"+s.Addr().String()+"/theatre/trackID=0",
				base.Header{"Transport": base.HeaderValue{"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"}}, "")
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			c := dialRTSP(t, s)
			step(c)
			awaitClosed(t, c)
		})
	}
}

// A publisher outlives the time for the handshake, its connection may then not
// idle after TEARDOWN.
func TestRTSPControlTimeoutEndsWithRecord(t *testing.T) {
	s := startRTSP(t, GateConfig{}, func(r *RTSP) { r.listener.handshake = 200 * time.Millisecond })
	c := dialRTSP(t, s)
	record(t, s, c)
	select { // the time has to pass, nothing tells that it has not run out
	case <-time.After(400 * time.Millisecond):
	case <-s.stopping.Done():
	}
	if got := c.do(t, base.Teardown, "rtsp://"+s.Addr().String()+"/theatre", c.session, ""); got.StatusCode != base.StatusOK {
		t.Fatal(got.StatusCode)
	}
	awaitClosed(t, c)
}

// A connection beyond the limits takes the place of the oldest that does not
// publish; where all do, it gets none.
func TestRTSPConnectionLimits(t *testing.T) {
	s := startRTSP(t, GateConfig{MaxConnectionsPerAddress: 2})
	options := func(c *rawRTSP) { c.do(t, base.Options, "rtsp://"+s.Addr().String()+"/theatre", nil, "") }
	first, second := dialRTSP(t, s), dialRTSP(t, s)
	options(first)
	options(second)
	third := dialRTSP(t, s)
	options(third)
	awaitClosed(t, first)
	s.log.await(t, "too many publisher connections")
	for _, c := range []*rawRTSP{second, third} {
		options(c)
		record(t, s, c)
	}
	awaitClosed(t, dialRTSP(t, s))
	options(second)
	options(third)
}

// record goes through all steps of a publisher of testSDP.
func record(t *testing.T, s *testServer, c *rawRTSP) {
	t.Helper()
	url := "rtsp://" + s.Addr().String() + "/theatre"
	c.announce(t, s, "theatre", "publish", testKey)
	set := c.do(t, base.Setup, url+"/trackID=0",
		base.Header{"Transport": base.HeaderValue{"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"}}, "")
	c.session = base.Header{"Session": set.Header["Session"]}
	if got := c.do(t, base.Record, url, c.session, ""); got.StatusCode != base.StatusOK {
		t.Fatal(got.StatusCode)
	}
}

// 200 clients that do no more than half a handshake, and come again whenever
// they are closed, from as many addresses as they like or from the encoder's,
// don't delay an encoder.
func TestRTSPHalfHandshakesDelayNobody(t *testing.T) {
	for name, address := range map[string]func(int) net.IP{
		"of many addresses": func(i int) net.IP { return net.IPv4(127, 1, byte(i), 1) },
		"of few addresses":  func(i int) net.IP { return net.IPv4(127, 1, byte(i%5), 1) },
		"of its own":        func(int) net.IP { return net.IPv4(127, 0, 0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := startRTSP(t, GateConfig{})
			for i := range 200 {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: address(i)}}
				conn, err := dialer.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				_, _ = conn.Write([]byte("ANNOUNCE rtsp://127.0.0.1/theatre RTSP/1.0\r\nCSeq: 1\r\n"))
			}
			began := time.Now()
			record(t, s, dialRTSP(t, s))
			if took := time.Since(began); took > handshakeTimeout/4 {
				t.Errorf("the encoder was delayed by %v", took)
			}
			s.log.await(t, "encoder connected")
		})
	}
}

// So it is over TLS, with half a hello of that.
func TestRTSPSHalfHandshakes(t *testing.T) {
	t.Parallel()
	config := RTSPConfig{Listen: "127.0.0.1:0", TLS: selfSigned(t)}
	gate, _, log := testGate(GateConfig{})
	config.Gate, config.Logger = gate, gate.logger
	r, err := NewRTSP(config)
	if err != nil {
		t.Fatal(err)
	}
	r.listener.handshake = 2 * time.Second
	runUntilEnd(t, r.Run)
	wait := halfHandshakes(t, r.Addr(), []byte{0x16, 3, 1, 2, 0, 1})
	tracks, _ := testFile(t, "testdata/bframes.mp4")
	client := &gortsplib.Client{TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	began := time.Now()
	err = client.StartRecording("rtsps://publish:"+testKey+"@"+r.Addr().String()+"/theatre", &description.Session{Medias: newEncoder(t, tracks).medias})
	if err != nil {
		t.Fatalf("a good encoder: %v\n%s", err, log)
	}
	client.Close()
	if took := time.Since(began); took > handshakeTimeout/4 {
		t.Errorf("the encoder was delayed by %v", took)
	}
	wait()
}

func TestRTSPDisconnectCloses(t *testing.T) {
	for name, transport := range map[string]gortsplib.Transport{"tcp": gortsplib.TransportTCP, "udp": gortsplib.TransportUDP} {
		t.Run(name, func(t *testing.T) {
			s := startRTSP(t, GateConfig{})
			client, conn, p := publishing(t, s, transport)
			_ = conn.Close() // no TEARDOWN, as when the encoder crashes
			select {
			case <-p.closed:
			case <-time.After(5 * time.Second):
				t.Error("the publication is still open")
			}
			client.Close()
			s.log.await(t, "reason=\"publisher disconnected\"")
		})
	}
}

func TestRTSPReplacedIsDropped(t *testing.T) {
	s := startRTSP(t, GateConfig{})
	client, _, p := publishing(t, s, gortsplib.TransportTCP)
	close(p.done)
	<-p.closed
	if err := client.Wait(); err == nil {
		t.Error("the replaced publisher was not disconnected")
	}
	s.log.await(t, errReplaced.Error())
}

// publishing starts a publisher that has sent the first pictures.
func publishing(t *testing.T, s *testServer, transport gortsplib.Transport) (*gortsplib.Client, net.Conn, *fakePublication) {
	t.Helper()
	tracks, samples := testFile(t, "testdata/bframes.mp4")
	e := newEncoder(t, tracks)
	client, conn := s.connect(t, transport, e)
	t.Cleanup(client.Close)
	for i, media := range e.medias {
		if err := client.WritePacketRTCP(media, e.report(i, ssrcOf(client, media), 0, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	for _, sample := range samples[:20] {
		for _, packet := range e.packets(t, sample) {
			if err := client.WritePacketRTP(e.medias[sample.track], packet); err != nil {
				t.Fatal(err)
			}
		}
	}
	return client, conn, s.publication(t)
}
