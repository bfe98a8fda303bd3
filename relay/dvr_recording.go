package relay

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// Recording is what viewers can look back on of one rendition: its long list
// and the media on disk.
type Recording struct {
	dvr    *DVR
	window *Window
	folder *folder
	length time.Duration
	source longSource
	log    *slog.Logger

	// Of run's goroutine alone.
	next    uint64    // media sequence number of the segment to keep next
	tried   uint64    // the open segment when keeping was tried last
	trimmed time.Time // newest media at the last trim
}

// longSource is where a recording has its list from: an origin makes it, a
// relay follows one.
type longSource interface {
	// newest returns the list as it is now. Errors: ErrNotFound while there is
	// none; ErrUnavailable; the context's.
	newest(ctx context.Context) (*longList, error)
	// first is newest, but waits while there is none. Errors: those of newest.
	first(ctx context.Context) (*longList, error)
	// keep is told of each closed segment when its media are on disk, with its
	// discontinuity sequence number, and may not block for long.
	keep(s Segment, discontinuity uint64)
	// end is told that nothing follows.
	end()
	// fetch gets an object that l names onto the disk. Errors: ErrNotFound,
	// ErrUnavailable, the context's.
	fetch(ctx context.Context, name MediaName, l *longList) error
	// run does what there is to do in the background until ctx ends.
	run(ctx context.Context)
}

func (d *DVR) newRecording(st *Stream, rendition string, length time.Duration, epoch func() Epoch) (*Recording, error) {
	if !validLabel(rendition) { // it becomes a folder
		return nil, errors.New("this is no rendition's name")
	}
	r := &Recording{
		dvr:    d,
		window: st.Window(rendition),
		folder: d.disk.folder(st.Name, rendition),
		length: length,
		log:    d.config.Logger.With("stream", st.Name, "rendition", rendition),
	}
	if epoch != nil {
		r.source = newFollowedList(r, "/"+st.Name+"/"+rendition+"/", st.Constants, epoch)
		return r, nil
	}
	made, err := newMadeList(r, st.Constants)
	if err != nil {
		return nil, err
	}
	r.source, r.next = made, made.builder.next()
	return r, nil
}

// setLookBack says for how long segments that come from now on can be had when
// they have left.
func (w *Window) setLookBack(length time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookBack = length
	w.keepMedia()
}

// run records until ctx ends.
func (r *Recording) run(ctx context.Context) {
	r.window.setLookBack(r.length)
	defer r.window.setLookBack(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.source.run(ctx)
	}()
	defer func() { <-done }()
	for {
		v, changed, closed := r.window.snapshot()
		if v != nil {
			r.take(v)
		}
		if closed {
			<-ctx.Done()
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			// What was sealed with the end is kept too.
			if v, _, _ := r.window.snapshot(); v != nil {
				r.take(v)
			}
			return
		}
	}
}

// take keeps the closed segments of a list that are not kept yet. One that
// can't be kept is tried again when the next one has closed.
func (r *Recording) take(v *Version) {
	p := v.Playlist
	if p.OpenSequence() == r.tried && !p.Ended {
		return
	}
	r.tried = p.OpenSequence()
	number := p.DiscontinuitySequence
	for i := range p.Segments {
		s := p.Segments[i]
		if s.Discontinuity {
			number++
		}
		if s.Name.Number < r.next {
			continue
		}
		if err := r.store(&s); err != nil {
			return // the disk has said so
		}
		r.source.keep(s, number)
		r.next = s.Name.Number + 1
	}
	if p.Ended {
		r.source.end()
	}
	r.trim(p.End())
}

// store writes a segment and its init segment. One whose media have left the
// window meanwhile becomes a gap.
func (r *Recording) store(s *Segment) error {
	if s.Map.Kind == Init && !r.folder.has(s.Map) {
		if err := r.write(s.Map, s.ProgramDateTime); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if s.Gap {
		return nil
	}
	err := r.write(s.Name, s.ProgramDateTime)
	if errors.Is(err, ErrNotFound) {
		s.Gap, err = true, nil
	}
	return err
}

// write writes an object of the window.
func (r *Recording) write(name MediaName, date time.Time) error {
	o := r.window.peek(name)
	if o == nil {
		return ErrNotFound
	}
	pieces, size := o.pieces(), int64(0)
	for _, piece := range pieces {
		size += int64(len(piece))
	}
	if date.IsZero() {
		date = time.Now()
	}
	return r.folder.write(name, date, size, func(w io.Writer) error {
		for _, piece := range pieces {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	// trimEvery is how much media come between two looks for old ones.
	trimEvery = 10 * time.Second
	// trimSlack is how long media stay after they left the list, beside a
	// tenth of the list: for those who read an older one.
	trimSlack = time.Minute
)

// trim deletes what is older than the list, counted from the newest media, not
// from the clock: a stream that stands still loses nothing, nor does one whose
// node's clock is set.
func (r *Recording) trim(newest time.Time) {
	if newest.IsZero() || newest.Sub(r.trimmed) < trimEvery {
		return
	}
	r.trimmed = newest
	r.folder.trim(newest.Add(-r.length - r.length/10 - trimSlack))
}

// open opens an object that has left the live window, and pulls it through if
// that is possible. media is about how long it plays.
//
// Errors: ErrNotFound, ErrUnavailable, the context's.
func (r *Recording) open(ctx context.Context, name MediaName, pull bool) (f *os.File, size int64, media time.Duration, err error) {
	if name.Kind == PartMedia {
		return nil, 0, 0, ErrNotFound // long lists have none
	}
	if name.Kind == SegmentMedia {
		media = r.window.constants.TargetDuration
	}
	if f, size, err = r.folder.open(name); err == nil {
		return f, size, media, nil
	}
	if !pull {
		return nil, 0, 0, ErrNotFound
	}
	l, err := r.source.newest(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	if !l.names(name) {
		return nil, 0, 0, ErrNotFound
	}
	if err := r.source.fetch(ctx, name, l); err != nil {
		return nil, 0, 0, err
	}
	if f, size, err = r.folder.open(name); errors.Is(err, fs.ErrNotExist) {
		err = ErrUnavailable // it came and went: the disk is too small
	}
	return f, size, media, err
}
