package origin

import (
	"testing"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/pion/rtp"
)

// Packets that were not announced are counted and told of once; the feed goes on.
func TestRTSPOddPackets(t *testing.T) {
	s := startRTSP(t, GateConfig{})
	_, conn, p := publishing(t, s, gortsplib.TransportTCP)
	before := len(p.take(t, 10))
	odd := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 113, SequenceNumber: 7}, Payload: []byte{1, 2, 3}}
	raw, err := odd.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range [][]byte{raw, {0x80}, make([]byte, 1400)} {
		frame := append([]byte{'$', 0, byte(len(payload) >> 8), byte(len(payload))}, payload...)
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	s.log.await(t, "not what was announced")
	feeds := s.gate.Feeds()
	if len(feeds) != 1 || feeds[0].InvalidPackets == 0 || before == 0 {
		t.Errorf("feeds %+v", feeds)
	}
}
