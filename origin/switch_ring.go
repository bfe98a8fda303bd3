package origin

import "time"

const (
	// What is kept of an input that stands by: what the programme may lack when it
	// takes over. Beyond either bound the oldest is dropped; an input that is
	// farther ahead than what is left takes over with a discontinuity.
	maxStandbyTime  = 4 * time.Second
	maxStandbyBytes = 16 << 20
)

// standbyUnit is a unit that was not published.
type standbyUnit struct {
	Unit
	mark
	number int // of its mark
}

func (u standbyUnit) bytes() (n int64) {
	for _, p := range u.Payload {
		n += int64(len(p))
	}
	return n
}

// standbyRing holds the newest units of an input, all tracks in the order in
// which they came.
type standbyRing struct {
	units []standbyUnit
	bytes int64
}

func (r *standbyRing) put(u standbyUnit) {
	r.units = append(r.units, u)
	r.bytes += u.bytes()
	for len(r.units) > 1 && (r.bytes > maxStandbyBytes || u.arrival.Sub(r.units[0].arrival) > maxStandbyTime) {
		r.bytes -= r.units[0].bytes()
		r.units[0] = standbyUnit{} // its bytes are free now, whatever becomes of the slice
		r.units = r.units[1:]
	}
}

// take empties it.
func (r *standbyRing) take() []standbyUnit {
	units := r.units
	r.units, r.bytes = nil, 0
	return units
}

// randomSince is the index of the first unit of a track that decoding can start
// at and that came after a time; −1: there is none.
func (r *standbyRing) randomSince(track int, after time.Time) int {
	for i, u := range r.units {
		if u.Track == track && u.Random && u.arrival.After(after) {
			return i
		}
	}
	return -1
}
