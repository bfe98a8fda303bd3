package relay

import (
	"strconv"
	"time"
)

// playlistVersion stands in every list. A full list would do with 6, a delta
// needs 9: with one number, a delta is cut from the full text by offsets.
const playlistVersion = 9

// AppendText appends p as the text of a media playlist to b. Each segment
// carries its date, so that a delta and a player that joins late have one; MAP
// stands where it changes and at the first segment.
func (p *Playlist) AppendText(b []byte) []byte {
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:"...)
	b = strconv.AppendInt(b, playlistVersion, 10)
	b = append(b, "\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, int64(p.TargetDuration/time.Second), 10)
	b = append(b, "\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK="...)
	b = appendSeconds(b, p.PartHoldBack)
	b = append(b, ",HOLD-BACK="...)
	b = appendSeconds(b, p.HoldBack)
	b = append(b, ",CAN-SKIP-UNTIL="...)
	b = appendSeconds(b, p.CanSkipUntil)
	b = append(b, "\n#EXT-X-PART-INF:PART-TARGET="...)
	b = appendSeconds(b, p.PartTarget)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:"...)
	b = strconv.AppendUint(b, p.MediaSequence, 10)
	b = append(b, "\n#EXT-X-DISCONTINUITY-SEQUENCE:"...)
	b = strconv.AppendUint(b, p.DiscontinuitySequence, 10)
	b = append(b, '\n')
	for i := range p.DateRanges {
		b = append(b, "#EXT-X-DATERANGE:"...)
		b = append(b, p.DateRanges[i].Attributes...)
		b = append(b, '\n')
	}

	var inForce MediaName
	for i := range p.Segments {
		s := &p.Segments[i]
		b = s.appendTags(b, inForce)
		inForce = s.Map
		b = append(b, "#EXTINF:"...)
		b = appendSeconds(b, s.Duration)
		b = append(b, ",\n"...)
		b = append(b, s.Name.String()...)
		b = append(b, '\n')
	}
	if p.Ended {
		return append(b, "#EXT-X-ENDLIST\n"...)
	}
	if len(p.Open.Parts) > 0 {
		b = p.Open.appendTags(b, inForce)
	}
	if p.Hint.Kind == PartMedia {
		b = append(b, `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="`...)
		b = append(b, p.Hint.String()...)
		b = append(b, "\"\n"...)
	}
	for i := range p.Reports {
		b = p.Reports[i].appendTag(b)
	}
	return b
}

func (r *RenditionReport) appendTag(b []byte) []byte {
	b = append(b, `#EXT-X-RENDITION-REPORT:URI="`...)
	b = append(b, r.URI...)
	b = append(b, `",LAST-MSN=`...)
	b = strconv.AppendUint(b, r.LastMSN, 10)
	if r.LastPart >= 0 {
		b = append(b, ",LAST-PART="...)
		b = strconv.AppendInt(b, int64(r.LastPart), 10)
	}
	return append(b, '\n')
}

// appendTags appends what stands before a segment's EXTINF. DISCONTINUITY, MAP
// and PROGRAM-DATE-TIME must come before the segment's first PART.
func (s *Segment) appendTags(b []byte, inForce MediaName) []byte {
	if s.Discontinuity {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	if s.Map.Kind == Init && (s.Map != inForce || s.Discontinuity) {
		b = append(b, `#EXT-X-MAP:URI="`...)
		b = append(b, s.Map.String()...)
		b = append(b, "\"\n"...)
	}
	if !s.ProgramDateTime.IsZero() {
		b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
		b = s.ProgramDateTime.UTC().AppendFormat(b, programDateTime)
		b = append(b, '\n')
	}
	if s.Gap {
		b = append(b, "#EXT-X-GAP\n"...)
	}
	for i := range s.Parts {
		b = s.Parts[i].appendTag(b)
	}
	return b
}

// programDateTime is RFC 3339 with the milliseconds that players read.
const programDateTime = "2006-01-02T15:04:05.000Z07:00"

func (p *Part) appendTag(b []byte) []byte {
	b = append(b, "#EXT-X-PART:DURATION="...)
	b = appendSeconds(b, p.Duration)
	b = append(b, `,URI="`...)
	b = append(b, p.Name.String()...)
	b = append(b, '"')
	if p.Independent {
		b = append(b, ",INDEPENDENT=YES"...)
	}
	if p.Gap {
		b = append(b, ",GAP=YES"...)
	}
	return append(b, '\n')
}

// appendSeconds appends d in seconds with one to six decimals: a microsecond
// is far below a frame, and the sum of an hour's durations stays true.
func appendSeconds(b []byte, d time.Duration) []byte {
	b = strconv.AppendFloat(b, d.Seconds(), 'f', 6, 64)
	for b[len(b)-1] == '0' && b[len(b)-2] != '.' {
		b = b[:len(b)-1]
	}
	return b
}
