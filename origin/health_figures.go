package origin

// Health are the figures of a feed, over some seconds. Those that are pointers
// are nil while they can't be known.
type Health struct {
	// BitsPerSecond are those of all units, as they came, fillers included.
	BitsPerSecond float64 `json:"bits_per_second"`

	// FrameRate is that of the picture by the encoder's timestamps, 0 while not
	// known or without a picture.
	FrameRate float64 `json:"frame_rate"`

	// GOPSeconds is from one key picture to the next, of the newest GOP or of the
	// open one if that is longer already; KeyFrameAgeSeconds how long ago the
	// newest key picture was.
	GOPSeconds         float64 `json:"gop_seconds"`
	KeyFrameAgeSeconds float64 `json:"key_frame_age_seconds"`

	// JitterSeconds is the interarrival jitter of RFC 3550 of the track that has
	// more of it, from unit to unit.
	JitterSeconds float64 `json:"jitter_seconds"`

	// RTTSeconds is the round trip on the line to the encoder, by SRT or by TCP.
	RTTSeconds *float64 `json:"rtt_seconds"`

	// ResentPackets were lost on the line and came again, DroppedPackets did not
	// come again in time: by SRT, which alone can tell.
	ResentPackets  int64 `json:"resent_packets"`
	DroppedPackets int64 `json:"dropped_packets"`

	// QueuedBytes are the most that waited for the packager.
	QueuedBytes int64 `json:"queued_bytes"`

	// DriftPPM is how much faster the encoder's clock goes than ours, in parts
	// per million, and DriftSeconds how far that has come since the beginning.
	DriftPPM     *float64 `json:"drift_ppm"`
	DriftSeconds *float64 `json:"drift_seconds"`

	// AVOffsetSeconds is how much later than the picture that it belongs to the
	// first sound comes; what viewers hear is in time all the same.
	AVOffsetSeconds *float64 `json:"av_offset_seconds"`

	// Jumps are those of the timestamps so far.
	Jumps int `json:"jumps"`
}

// measure makes the figures; they are of the ingest's goroutine, as the tracks'
// offsets are.
func (h *health) measure(line lineHealth) {
	var f Health
	for i := range h.tracks {
		t := &h.tracks[i]
		f.BitsPerSecond += t.bitRate()
		f.JitterSeconds = max(f.JitterSeconds, t.jitter)
		f.Jumps += t.jumps
	}
	if p := h.picture(); p != nil {
		f.FrameRate = p.frameRate()
		f.GOPSeconds = p.gop.length().Seconds()
		if p.gop.known {
			f.KeyFrameAgeSeconds = h.end.Sub(p.gop.came).Seconds()
		}
	}
	for _, queued := range h.queued {
		f.QueuedBytes = max(f.QueuedBytes, queued)
	}
	if line.rtt > 0 {
		f.RTTSeconds = new(line.rtt.Seconds())
	}
	f.ResentPackets, f.DroppedPackets = line.resent, line.dropped
	lead := &h.tracks[0].drift
	if rate, ok := lead.rate(); ok {
		f.DriftPPM, f.DriftSeconds = new(rate*1e6), new(lead.ahead().Seconds())
	}
	if sounds := h.sounds(); h.picture() != nil && len(sounds) > 0 {
		sound, heard := sounds[0].delay()
		picture, seen := h.picture().delay()
		if heard && seen {
			f.AVOffsetSeconds = new((sound - picture).Seconds())
		}
	}
	h.figures = f
}
