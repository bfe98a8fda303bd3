package origin

import "log/slog"

// bundle publishes a feed of several pictures: the first one as the top rung of the
// stream, each further one as the rung that stands at its place. The sound goes with
// each, so that it is there whichever rung leads.
//
//	ingest ─▶ bundle ─┬─▶ inputSwitch ─▶ Publication of the top rung
//	                  └─▶ Publication of a rung, beginning with a key picture, for each further one
//
// A further one gives way to who pushes its rung, and is back when that has gone.
// The bundle ends with its first.
type bundle struct {
	publication // of the first picture
	tracks      []Track
	pictures    int
	further     []*bundled
}

// bundled is a further picture of a feed.
type bundled struct {
	rung    string
	out     publication // nil while it is not published
	refused string      // why it was not, as the log has it
	open    func([]Track) (publication, error)
	logger  *slog.Logger
}

// newBundle takes a feed's tracks, pictures first; rungs are those of the stream,
// and open opens one of them.
func newBundle(tracks []Track, rungs []string, open func(rung string, tracks []Track) (publication, error), logger *slog.Logger) (publication, error) {
	b := &bundle{tracks: tracks, pictures: countPictures(tracks)}
	for _, rung := range rungs[1:min(b.pictures, len(rungs))] {
		b.further = append(b.further, &bundled{
			rung: rung, logger: logger.With("rung", rung),
			open: func(tracks []Track) (publication, error) { return open(rung, tracks) },
		})
	}
	var err error
	if b.publication, err = open(rungs[0], b.with(tracks[0])); err != nil {
		return nil, err
	}
	return b, nil
}

// countPictures counts the tracks with pictures, which come first.
func countPictures(tracks []Track) (n int) {
	for n < len(tracks) && tracks[n].Codec.IsVideo() {
		n++
	}
	return n
}

// with are the tracks of one picture's publication.
func (b *bundle) with(picture Track) []Track {
	return append([]Track{picture}, b.tracks[b.pictures:]...)
}

// Write is that of publication.
func (b *bundle) Write(u Unit) error {
	n := u.Track // of the picture; beyond them for sound
	u.Track = max(0, n-b.pictures+1)
	if n == 0 || n >= b.pictures {
		if err := b.publication.Write(u); err != nil {
			return err
		}
	}
	for i, f := range b.further {
		if n == i+1 && f.out == nil && u.Random && !b.over() {
			f.begin(b, b.tracks[n], u)
		}
		if n == i+1 || n >= b.pictures {
			f.write(u)
		}
	}
	return nil
}

// over tells whether the first picture has ended, as when a newer feed has come,
// whose rungs these are now.
func (b *bundle) over() bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

// Close is that of publication.
func (b *bundle) Close() {
	for _, f := range b.further { // none of them shall lead for a moment
		if f.out != nil {
			f.out.Close()
		}
	}
	b.publication.Close()
}

// begin publishes a picture from a key picture on, if its rung is free.
func (f *bundled) begin(b *bundle, track Track, u Unit) {
	track.Codec, _ = withParameters(track.Codec, u.Payload)
	track.Missing = false
	d, err := describe(track.Codec)
	if err == nil {
		f.out, err = f.open(b.with(track))
	}
	switch {
	case err == nil:
		f.refused = ""
		f.logger.Info("picture of the feed is a rung", "width", d.width, "height", d.height)
	case err.Error() != f.refused:
		f.refused = err.Error()
		f.logger.Warn("picture of the feed is no rung", "reason", err)
	}
}

func (f *bundled) write(u Unit) {
	if f.out != nil && f.out.Write(u) != nil { // which has logged it
		f.out = nil
	}
}
