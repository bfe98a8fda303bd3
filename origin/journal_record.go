package origin

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"surgecast/relay"
)

// What a record of the media journal holds. A file has one segment: what comes
// later stands behind what came earlier, and is worth nothing without it.
const (
	recordObject = 'o' // name, newline, bytes: an init segment, a part, a whole segment
	recordIndex  = 'x' // the multivariant playlist
	recordList   = 'l' // a media playlist
	recordTail   = 't' // 4 bytes: how much of the list before stays; and what follows that
	recordWhole  = 'w' // nothing of the segment is missing
	recordClock  = 'c' // 8 bytes: when the list was written, by the clock, in ns since 1970
)

// recordFrame is what a record has beside its payload: a byte for the kind, 4
// for the length, and 4 behind the payload for the CRC-32C of all before it.
const recordFrame = 9

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends a record whose payload is in pieces.
func appendRecord(b []byte, kind byte, payload ...[]byte) []byte {
	from, size := len(b), 0
	for _, piece := range payload {
		size += len(piece)
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	for _, piece := range payload {
		b = append(b, piece...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// cutRecord takes the first record off b. It is not ok at the end, and where a
// crash or the disk left something that is no record.
func cutRecord(b []byte) (kind byte, payload, rest []byte, ok bool) {
	if len(b) < recordFrame {
		return 0, nil, nil, false
	}
	size := int64(binary.BigEndian.Uint32(b[1:]))
	if size > int64(len(b)-recordFrame) {
		return 0, nil, nil, false
	}
	end := 5 + int(size)
	if binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return 0, nil, nil, false
	}
	return b[0], b[5:end], b[end+4:], true
}

// segmentRecord is what a file of the media journal says.
type segmentRecord struct {
	list    []byte // the newest one that was written
	index   []byte
	at      time.Time // when the list was written
	objects map[relay.MediaName][]byte
	parts   []relay.MediaName // in their order
	whole   bool
}

// readSegmentRecord reads a file up to where it is torn.
func readSegmentRecord(b []byte) segmentRecord {
	r := segmentRecord{objects: map[relay.MediaName][]byte{}}
	for {
		kind, payload, rest, ok := cutRecord(b)
		if !ok || !r.take(kind, payload) {
			return r
		}
		b = rest
	}
}

// take adds a record. What makes no sense, although its sum is right, was not
// written by this program, and what follows is not trusted.
func (r *segmentRecord) take(kind byte, payload []byte) bool {
	switch kind {
	case recordIndex:
		r.index = payload
	case recordList:
		r.list = payload
	case recordTail:
		if len(payload) < 4 || uint64(binary.BigEndian.Uint32(payload)) > uint64(len(r.list)) {
			return false
		}
		stays := r.list[:binary.BigEndian.Uint32(payload)]
		r.list = append(bytes.Clone(stays), payload[4:]...)
	case recordObject:
		text, body, ok := bytes.Cut(payload, []byte("\n"))
		name, err := relay.ParseMediaName(string(text))
		if !ok || err != nil || len(body) == 0 {
			return false
		}
		if name.Kind == relay.PartMedia && r.objects[name] == nil {
			r.parts = append(r.parts, name)
		}
		r.objects[name] = body
	case recordClock:
		if len(payload) != 8 {
			return false
		}
		r.at = time.Unix(0, int64(binary.BigEndian.Uint64(payload)))
	case recordWhole:
		r.whole = true
	default:
		return false
	}
	return true
}

// segment returns the bytes of a whole segment, nil if they are not all here.
func (r *segmentRecord) segment(name relay.MediaName) []byte {
	if body := r.objects[name]; body != nil {
		return body
	}
	if !r.whole {
		return nil
	}
	var body []byte
	for _, part := range r.parts {
		if part.Epoch != name.Epoch || part.Number != name.Number {
			return nil
		}
		body = append(body, r.objects[part]...)
	}
	return body
}
