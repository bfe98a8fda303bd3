package origin

import "io"

// mpegtsSplit rewrites MPEG-TS for the demuxer, which at each packet copies all
// that it has of the same PES packet, to see whether that is whole: of a key
// picture of 1 MB that is 2.7 GB. It does so where the first three bytes are in
// the first packet, so of a PES packet whose length is not told, and which is
// whole with the next one in any case, the first packet is made two: one with a
// byte of it, and one with the rest. Continuity counters are moved by that.
type mpegtsSplit struct {
	from    io.Reader // whole packets
	packet  [mpegtsPacket]byte
	halves  [2 * mpegtsPacket]byte
	pending []byte            // of one of them
	tracks  [1 << 13]splitPID // by PID
}

// splitPID is what is known of the packets of a PID.
type splitPID struct {
	known   bool
	counter byte // of the latest packet, as it came
	moved   byte
}

func (s *mpegtsSplit) Read(b []byte) (int, error) {
	for len(s.pending) == 0 {
		if _, err := io.ReadFull(s.from, s.packet[:]); err != nil {
			return 0, err
		}
		s.pending = s.take(s.packet[:])
	}
	n := copy(b, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// take returns what is passed on for a packet.
func (s *mpegtsSplit) take(p []byte) []byte {
	const damaged, start, adapted, payload, counter = 0x80, 0x40, 0x20, 0x10, 0x0f
	if p[0] != mpegtsSync || p[3]&payload == 0 {
		return p
	}
	of := &s.tracks[int(p[1]&0x1f)<<8|int(p[2])]
	again := of.known && of.counter == p[3]&counter // packets may be sent twice
	of.known, of.counter = true, p[3]&counter
	at := 4 // where the payload begins
	if p[3]&adapted != 0 {
		at += 1 + int(p[4])
	}
	p[3] = p[3]&^counter | (p[3]+of.moved)&counter
	if p[1]&(damaged|start) != start || !boundless(p[min(at, mpegtsPacket):]) {
		return p
	}
	if again {
		return nil
	}
	of.moved++
	for i := range s.halves {
		s.halves[i] = 0xff // stuffing
	}
	first, second := s.halves[:mpegtsPacket], s.halves[mpegtsPacket:]
	copy(first, p[:at])
	first[3] |= adapted
	first[4] = mpegtsPacket - 4 - 1 - 1
	if at <= 5 { // it had no flags
		first[5] = 0
	}
	first[mpegtsPacket-1] = p[at]
	rest := p[at+1:]
	second[0], second[1], second[2] = p[0], p[1]&^start, p[2]
	second[3] = p[3]&^counter | adapted | (p[3]+1)&counter
	second[4] = byte(mpegtsPacket - 4 - 1 - len(rest))
	if second[4] > 0 {
		second[5] = 0
	}
	copy(second[mpegtsPacket-len(rest):], rest)
	return s.halves[:]
}

// boundless tells whether a PES packet begins there whose length is not told.
func boundless(payload []byte) bool {
	return len(payload) > 6 && payload[0] == 0 && payload[1] == 0 && payload[2] == 1 && payload[4] == 0 && payload[5] == 0
}
