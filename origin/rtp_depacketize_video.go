package origin

import (
	"fmt"

	"github.com/pion/rtp"
)

// videoPackets is what differs between H.264, H.265 and AV1 in RTP.
type videoPackets interface {
	// nalus returns the NAL units that end in the packet.
	nalus(packet *rtp.Packet) ([][]byte, error)
	// reset forgets the beginning of an unfinished one.
	reset()
}

// videoDepacketizer groups NAL units into pictures, by the marker bit and by
// the timestamp, since some encoders forget one of the two.
type videoDepacketizer struct {
	packets videoPackets

	picture      [][]byte
	pictureBytes int
	timestamp    uint32

	broken          bool // the picture with brokenTimestamp is dropped
	brokenTimestamp uint32
	afterLoss       bool // one was dropped since the last that came out
}

func (d *videoDepacketizer) lost(packet *rtp.Packet) {
	d.packets.reset()
	d.drop(packet.Timestamp)
}

// drop gives up the picture with this timestamp, and what was gathered of one
// before it.
func (d *videoDepacketizer) drop(timestamp uint32) {
	d.picture, d.pictureBytes = nil, 0
	d.broken, d.brokenTimestamp = true, timestamp
	d.afterLoss = true
}

func (d *videoDepacketizer) depacketize(packet *rtp.Packet) ([]rtpUnit, error) {
	if d.broken && packet.Timestamp == d.brokenTimestamp {
		return nil, errLost
	}
	d.broken = false
	var units []rtpUnit
	if len(d.picture) > 0 && packet.Timestamp != d.timestamp {
		units = d.finish(units)
	}
	d.timestamp = packet.Timestamp
	if err := d.gather(packet); err != nil {
		d.packets.reset()
		d.drop(packet.Timestamp)
		return units, err
	}
	if packet.Marker {
		units = d.finish(units)
	}
	return units, nil
}

// gather adds a packet's NAL units to the picture.
func (d *videoDepacketizer) gather(packet *rtp.Packet) error {
	nalus, err := d.packets.nalus(packet)
	if err != nil {
		return err
	}
	for _, nalu := range nalus {
		d.picture = append(d.picture, nalu)
		d.pictureBytes += len(nalu)
	}
	if d.pictureBytes > maxPictureBytes || len(d.picture) > maxPictureNALUs {
		return fmt.Errorf("picture of more than %d bytes or %d NAL units", maxPictureBytes, maxPictureNALUs)
	}
	return nil
}

// finish appends the gathered picture to units.
func (d *videoDepacketizer) finish(units []rtpUnit) []rtpUnit {
	if len(d.picture) == 0 {
		return units
	}
	unit := rtpUnit{timestamp: d.timestamp, afterLoss: d.afterLoss, payload: d.picture}
	d.picture, d.pictureBytes, d.afterLoss = nil, 0, false
	return append(units, unit)
}
