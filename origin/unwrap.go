package origin

// unwrapper extends the timestamps of a protocol, which begin anew after some
// hours, to ones that do not: 32 bits in RTP and RTMP, 33 in MPEG-TS. The zero
// value needs its bits set. It is used by one goroutine.
type unwrapper struct {
	bits    uint
	running bool
	newest  int64 // the latest one taken
}

// extend maps a timestamp to the extended one nearest to the newest: a step of
// up to half the range in either direction survives the wrap.
func (u *unwrapper) extend(timestamp uint64) int64 {
	if !u.running {
		u.running = true
		u.newest = int64(timestamp)
	}
	unused := 64 - u.bits
	step := int64((timestamp-uint64(u.newest))<<unused) >> unused
	return u.newest + step
}

// take extends a timestamp and makes it the newest.
func (u *unwrapper) take(timestamp uint64) int64 {
	u.newest = u.extend(timestamp)
	return u.newest
}
