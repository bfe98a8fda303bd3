package origin

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"surgecast/relay"
)

// Witness is a relay that was asked for what it holds, and what it said.
type Witness struct {
	relay.Holder
	Held relay.Held
}

// Remembers tells whether an earlier life left media on the disk.
func (o *Origin) Remembers() bool {
	for name := range o.streams {
		folders, err := os.ReadDir(filepath.Join(o.config.Dir, mediaFolder, name))
		if err == nil && len(folders) > 0 {
			return true
		}
	}
	return false
}

// Restore makes each stream go on where the life before this one left it: it
// takes the longest list that the disk or one of the relays has, closes what
// was open with the parts that are known, and publishes that. What comes next
// follows under this life's epoch, behind a discontinuity. Where nobody has a
// list, or its end is farther back than a live list is long, a stream begins
// anew beyond all that is known of it.
//
// It is called once, before publications begin: a stream that has one stays as
// it is. What can't be had before ctx ends is done without. The error is that
// of the journal: nothing may be published then.
func (o *Origin) Restore(ctx context.Context, witnesses []Witness) error {
	if err := o.raiseEpoch(witnesses); err != nil {
		return err
	}
	o.forgetOthers()
	var restoring sync.WaitGroup
	for _, s := range o.streams {
		restoring.Go(func() { s.restore(ctx, witnesses) })
	}
	restoring.Wait()
	return nil
}

// forgetOthers deletes the media of streams that are configured no more.
func (o *Origin) forgetOthers() {
	dir := filepath.Join(o.config.Dir, mediaFolder)
	entries, _ := os.ReadDir(dir) // one that can't be read has nothing to be deleted
	for _, entry := range entries {
		if o.streams[entry.Name()] == nil {
			_ = os.RemoveAll(filepath.Join(dir, entry.Name())) // what stays is in nobody's way
		}
	}
}

// raiseEpoch brings the epoch above those that the relays know: where the
// journal was lost, and the clock went back, it is not above them by itself.
func (o *Origin) raiseEpoch(witnesses []Witness) error {
	known := relay.Epoch(0)
	for i := range witnesses {
		c, err := relay.OpenCatalogue(witnesses[i].Held.Catalogue, o.config.AuthorityKey.Public().(ed25519.PublicKey))
		if err == nil && c.Epoch < math.MaxUint32 { // else somebody else's
			known = max(known, c.Epoch)
		}
	}
	if known < o.journal.epoch {
		return nil
	}
	if err := o.journal.raise(known + 1); err != nil {
		return err
	}
	for _, s := range o.streams {
		s.mu.Lock()
		for _, t := range s.timelines() {
			if t.born.IsZero() {
				t.epoch = o.journal.epoch
			}
		}
		s.mu.Unlock()
	}
	o.catalogue.raise(o.journal.epoch)
	return nil
}

// restore restores one stream. Publications wait meanwhile.
func (s *stream) restore(ctx context.Context, witnesses []Witness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over() != nil || !s.timeline.born.IsZero() {
		return
	}
	began := time.Now()
	p := &past{stream: s, witnesses: witnesses}
	reason := p.restore(ctx)
	p.goBeyond()
	switch {
	case reason == nil:
		list := &s.timeline.list
		s.logger.Info("stream restored", "segments", len(list.Segments), "next", list.OpenSequence(), "until", s.timeline.date.end,
			"witnesses", len(witnesses), "after", time.Since(began).Round(time.Millisecond))
	case p.newest > 0:
		s.logger.Warn("stream not restored: it begins anew, beyond all that is known of it", "err", reason, "known", p.newest)
	}
}

// past gathers what is known of a stream's earlier life.
type past struct {
	*stream
	witnesses []Witness
	newest    uint64 // open segment of the longest list that anybody has; 0 of none
	numbers   streamRecord
}

// goBeyond sees to it that a stream that begins anew repeats no number.
func (p *past) goBeyond() {
	if !p.timeline.born.IsZero() || p.newest == 0 {
		return
	}
	for _, t := range p.timelines() {
		t.list.MediaSequence = max(t.list.MediaSequence, p.newest+rebirthLead)
		t.discontinuity = max(t.discontinuity, p.numbers.Discontinuity)
		t.list.DiscontinuitySequence = t.discontinuity
		t.list.Open.Discontinuity = true
		t.nextInit = max(t.nextInit, p.numbers.Init+1)
	}
}

// restore makes the stream's timelines from what there is, and publishes them.
// The error says why that can't be.
func (p *past) restore(ctx context.Context) error {
	lead, err := p.find(ctx, p.top(), math.MaxUint64)
	if err != nil {
		return err
	}
	if lead.age > max(p.window, 3*p.Constants.TargetDuration) {
		return fmt.Errorf("its list ended %v ago, which is longer than it is", lead.age.Round(time.Second))
	}
	if r, known := p.journal.stream(p.Name); known && len(p.witnesses) == 0 && lead.list.OpenSequence() < r.MediaSequence {
		return fmt.Errorf("the disk lacks what comes before segment %d, and no relay was reached", r.MediaSequence)
	}
	index, renditions, err := p.index(ctx, lead)
	if err != nil {
		return err
	}
	if err := lead.collect(ctx, p.Name, p.witnesses); err != nil {
		return err
	}
	all := append([]*restoration{lead}, p.rungsLike(ctx, lead)...)
	for _, name := range renditions {
		if slices.Contains(p.rungNames(), name) {
			continue
		}
		r, err := p.find(ctx, name, lead.list.OpenSequence())
		if err == nil {
			err = r.collect(ctx, p.Name, p.witnesses)
		}
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	for _, r := range all[1:] {
		if err := r.keepUp(&lead.list); err != nil {
			return err
		}
	}
	return p.resume(all, index, renditions)
}

// top is the rendition that sets the others' segments.
func (p *past) top() string { return p.rungNames()[0] }

// rungsLike returns the other rungs; who has no media is as long as lead, and
// all gap.
func (p *past) rungsLike(ctx context.Context, lead *restoration) (all []*restoration) {
	for _, name := range p.rungNames()[1:] {
		r, err := p.find(ctx, name, lead.list.OpenSequence())
		if err == nil {
			err = r.collect(ctx, p.Name, p.witnesses)
		}
		if err != nil || r.list.OpenSequence() < lead.list.MediaSequence {
			r = &restoration{rendition: name, media: map[relay.MediaName][]byte{}}
			r.list.Constants = lead.list.Constants
			r.list.MediaSequence, r.list.DiscontinuitySequence = lead.list.MediaSequence, lead.list.DiscontinuitySequence
		}
		all = append(all, r)
	}
	return all
}

// index returns the multivariant playlist and the renditions that it names.
func (p *past) index(ctx context.Context, lead *restoration) (text []byte, renditions []string, err error) {
	if renditions, err = relay.ParseMultivariant(lead.index); err == nil && p.isIndex(renditions) {
		return lead.index, renditions, nil
	}
	for i := range p.witnesses {
		if text, err = p.witnesses[i].Index(ctx, p.Name); err != nil {
			continue
		}
		if renditions, err = relay.ParseMultivariant(text); err == nil && p.isIndex(renditions) {
			return text, renditions, nil
		}
	}
	return nil, nil, fmt.Errorf("nobody has its multivariant playlist (%v)", err)
}

// isIndex tells whether the renditions can be those of the stream: a rung at
// least, and sounds.
func (p *past) isIndex(renditions []string) bool {
	rungs := p.rungNames()
	for _, name := range renditions {
		if !slices.Contains(rungs, name) && !strings.HasPrefix(name, soundPrefix) {
			return false
		}
	}
	return slices.ContainsFunc(renditions, func(name string) bool { return slices.Contains(rungs, name) })
}

// option is a list that could be taken.
type option struct {
	open  uint64
	parts int
	age   time.Duration
	list  func() (*relay.Playlist, error)
}

// maxListTries bounds how many relays are asked for one list.
const maxListTries = 4

// find returns the longest list of a rendition that does not go beyond the
// open segment upTo, with its open segment closed.
func (p *past) find(ctx context.Context, rendition string, upTo uint64) (*restoration, error) {
	disk := recall(filepath.Join(p.dir, mediaFolder, p.Name, rendition))
	var options []option
	if disk.list != nil {
		options = append(options, option{
			open: disk.list.OpenSequence(), parts: len(disk.list.Open.Parts), age: disk.age,
			list: func() (*relay.Playlist, error) { return disk.list, nil },
		})
	}
	for i := range p.witnesses {
		w := &p.witnesses[i]
		if held, ok := w.Held.Rendition(p.Name, rendition); ok {
			options = append(options, option{
				open: held.Open, parts: held.Parts, age: held.Age,
				list: func() (*relay.Playlist, error) { return w.List(ctx, p.Name, rendition) },
			})
		}
	}
	slices.SortStableFunc(options, func(a, b option) int { return cmp.Or(cmp.Compare(b.open, a.open), cmp.Compare(b.parts, a.parts)) })
	r := &restoration{rendition: rendition, index: disk.index, media: disk.media}
	err := fmt.Errorf("nobody has the list of %s", rendition)
	for i, o := range options {
		p.newest = max(p.newest, min(o.open, math.MaxInt64/2))
		if o.open > upTo || i >= maxListTries {
			continue
		}
		list, listErr := o.list()
		if listErr == nil {
			listErr = p.admits(list, upTo)
		}
		if listErr != nil {
			err = fmt.Errorf("the list of %s: %w", rendition, listErr)
			continue
		}
		r.age = o.age
		for _, other := range options {
			if other.open == o.open && other.parts == o.parts {
				r.age = min(r.age, other.age)
			}
		}
		r.take(list)
		p.numbers.Discontinuity = max(p.numbers.Discontinuity, r.discontinuity())
		p.numbers.Init = max(p.numbers.Init, r.newestInit())
		return r, nil
	}
	return r, err
}

// admits tells why a list can't be gone on with.
func (p *past) admits(list *relay.Playlist, upTo uint64) error {
	switch {
	case list.Ended:
		return fmt.Errorf("%w: it has ended", relay.ErrPlaylist)
	case list.Constants != p.Constants:
		return fmt.Errorf("%w: the stream has other constants now", relay.ErrPlaylist)
	case list.Epoch() >= p.timeline.epoch:
		return fmt.Errorf("%w: its epoch is %v, this life's %v", relay.ErrPlaylist, list.Epoch(), p.timeline.epoch)
	case list.OpenSequence() > upTo || list.OpenSequence() > math.MaxInt64/2:
		return fmt.Errorf("%w: it goes on to segment %d", relay.ErrPlaylist, list.OpenSequence())
	case list.End().IsZero():
		return fmt.Errorf("%w: it has no media, or no dates", relay.ErrPlaylist)
	}
	return nil
}
