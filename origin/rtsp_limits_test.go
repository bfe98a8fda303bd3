package origin

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
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
	s := startRTSP(t, func(_ *RTSPConfig, r *RTSP) {
		if r != nil {
			r.control = 100 * time.Millisecond
		}
	})
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
	s := startRTSP(t, func(_ *RTSPConfig, r *RTSP) {
		if r != nil {
			r.control = 200 * time.Millisecond
		}
	})
	c := dialRTSP(t, s)
	url := "rtsp://" + s.Addr().String() + "/theatre"
	c.announce(t, s, "theatre", "publish", testKey)
	set := c.do(t, base.Setup, url+"/trackID=0",
		base.Header{"Transport": base.HeaderValue{"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"}}, "")
	session := base.Header{"Session": set.Header["Session"]}
	if got := c.do(t, base.Record, url, session, ""); got.StatusCode != base.StatusOK {
		t.Fatal(got.StatusCode)
	}
	select { // the time has to pass, nothing tells that it has not run out
	case <-time.After(400 * time.Millisecond):
	case <-s.stopping.Done():
	}
	if got := c.do(t, base.Teardown, url, session, ""); got.StatusCode != base.StatusOK {
		t.Fatal(got.StatusCode)
	}
	awaitClosed(t, c)
}

func TestRTSPConnectionLimits(t *testing.T) {
	s := startRTSP(t, func(config *RTSPConfig, _ *RTSP) { config.MaxConnectionsPerAddress = 2 })
	first, second := dialRTSP(t, s), dialRTSP(t, s)
	options := func(c *rawRTSP) { c.do(t, base.Options, "rtsp://"+s.Addr().String()+"/theatre", nil, "") }
	options(first)
	options(second)
	awaitClosed(t, dialRTSP(t, s))
	s.log.await(t, "too many publisher connections")
	_ = first.Close()
	s.log.await(t, "connection closed")
	options(second)
	options(dialRTSP(t, s))
}

func TestRTSPDisconnectCloses(t *testing.T) {
	for name, transport := range map[string]gortsplib.Transport{"tcp": gortsplib.TransportTCP, "udp": gortsplib.TransportUDP} {
		t.Run(name, func(t *testing.T) {
			s := startRTSP(t, nil)
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
	s := startRTSP(t, nil)
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
