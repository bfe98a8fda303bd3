package relay

// peakRate is what all renditions of a multivariant playlist need together,
// bits/s, at their peak; 0 of one that can't be read. What a variant says of
// itself has its sound in it; a sound beside the fattest is left out, being
// small beside any picture.
func peakRate(text []byte) (rate int64) {
	p, err := decodeMultivariant(text)
	if err != nil {
		return 0
	}
	for _, v := range p.Variants {
		rate += int64(v.Bandwidth)
	}
	return rate
}
