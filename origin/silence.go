package origin

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// silence returns a frame of silence of a codec, nil where none can be made.
func silence(c codecs.Codec) []byte {
	switch c := c.(type) {
	case *codecs.MPEG4Audio:
		return silentAAC(c.Config)
	case *codecs.Opus:
		return silentOpus(c.ChannelCount)
	}
	return nil
}

// Syntactic elements of AAC, ISO/IEC 14496-3 table 4.85.
const (
	aacMono = 0 // single_channel_element
	aacPair = 1 // channel_pair_element
	aacLFE  = 3 // lfe_channel_element
	aacEnd  = 7
)

// aacElements are those of each channel configuration, table 1.19.
var aacElements = [][]uint32{
	1: {aacMono},
	2: {aacPair},
	3: {aacMono, aacPair},
	4: {aacMono, aacPair, aacMono},
	5: {aacMono, aacPair, aacPair},
	6: {aacMono, aacPair, aacPair, aacLFE},
	7: {aacMono, aacPair, aacPair, aacPair, aacLFE},
}

// silentAAC is a frame (raw_data_block, table 4.3) whose channels have no
// scale factor band at all. A decoder makes zeros of that, also one that expects
// spectral band replication and misses it.
func silentAAC(config mpeg4audio.AudioSpecificConfig) []byte {
	n := int(config.ChannelConfig)
	if config.Type != mpeg4audio.ObjectTypeAACLC || n == 0 || n >= len(aacElements) {
		return nil
	}
	var w aacBits
	tags := map[uint32]uint32{}
	for _, element := range aacElements[n] {
		w.put(element, 3)
		w.put(tags[element], 4) // element_instance_tag
		tags[element]++
		if element == aacPair {
			w.put(0, 1) // common_window
			w.silentChannel()
		}
		w.silentChannel()
	}
	w.put(aacEnd, 3)
	return w.bytes
}

// silentChannel writes an individual_channel_stream, table 4.50.
func (w *aacBits) silentChannel() {
	w.put(0, 8) // global_gain
	w.put(0, 1) // ics_reserved_bit
	w.put(0, 2) // window_sequence: ONLY_LONG_SEQUENCE
	w.put(0, 1) // window_shape
	w.put(0, 6) // max_sfb
	w.put(0, 1) // predictor_data_present
	w.put(0, 1) // pulse_data_present
	w.put(0, 1) // tns_data_present
	w.put(0, 1) // gain_control_data_present
}

// aacBits are written from the highest one on; the rest of the last byte is zero.
type aacBits struct {
	bytes []byte
	used  uint // in the last byte
}

func (w *aacBits) put(value uint32, count int) {
	for i := count - 1; i >= 0; i-- {
		if w.used%8 == 0 {
			w.bytes = append(w.bytes, 0)
			w.used = 0
		}
		w.bytes[len(w.bytes)-1] |= byte(value>>i&1) << (7 - w.used)
		w.used++
	}
}

// silentOpus is a packet of 20 ms of one or two channels: CELT, full band, one
// frame that says that it is silent (RFC 6716 sections 3.1 and 4.3). More
// channels are several streams in a packet, which nobody has sent us yet.
func silentOpus(channels int) []byte {
	const celt20ms, stereo = 31 << 3, 1 << 2
	switch channels {
	case 1:
		return []byte{celt20ms, 0xff, 0xfe}
	case 2:
		return []byte{celt20ms | stereo, 0xff, 0xfe}
	}
	return nil
}
