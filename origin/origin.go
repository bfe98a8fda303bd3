// Package origin takes feeds in and makes each into one unbroken programme: it
// is the only place where media are packaged, named and numbered.
//
//	RTSP ─▶ Gate ─▶ ingest ─▶ inputSwitch ─▶ Publication ─▶ packager ─▶ timeline ─▶ relay.Window
//	                                            one a publisher │           │ one a stream
//	                                               segmenter ───┤           ├── journal: what never goes back
//	                                               audioQueue ──┘           ├── media journal: the lists, for the next start
//	                                                                        └── catalogue: signed, to each relay
//
// A protocol ends where its units begin; gate.go says what it has to do.
//
// A publication ends with its publisher; a stream's timeline outlives it, and
// the origin too: the next start takes it up from the disk or from the relays
// (Origin.Restore). Media sequence and epoch never go back, bytes that were
// published never change.
//
// The package does not deliver (package relay does, on an origin as on a
// relay), does not transcode, and does not know who is in the pool.
package origin

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"surgecast/relay"
)

// Config is what an Origin needs.
type Config struct {
	// Dir is where the journals are kept. It must exist, and nobody else may use
	// it meanwhile. Required.
	Dir string
	// AuthorityKey signs the catalogue. Required.
	AuthorityKey ed25519.PrivateKey
	// Streams are all that may be published.
	Streams []StreamConfig
	// Store is filled with them. Required.
	Store *relay.Store
	// Window is the least length of the live list, default
	// relay.DefaultWindow. It is never under three target durations or six segments.
	Window time.Duration
	// Logger, default none.
	Logger *slog.Logger
}

// StreamConfig is one stream.
type StreamConfig struct {
	// Name as in URLs, see relay.ValidStream.
	Name string
	// PublishKey is what an encoder must know. Required.
	PublishKey string
	// Broadcasters have keys of their own to the stream, by the name that the
	// log calls them. None may be equal to another.
	Broadcasters map[string]string
	// SameKey says what becomes of an encoder that comes while another one
	// publishes, default NewestWins.
	SameKey SameKey
	// OnLoss says what viewers get while nobody publishes, default GapOnLoss.
	OnLoss OnLoss
	// Constants never change while the stream lives; the zero value means
	// relay.DefaultConstants.
	Constants relay.Constants
	// Audio says where sound goes beside pictures, default AudioMuxed.
	Audio AudioMode
	// Languages are those of the audio tracks in the order of the encoder, as
	// RFC 5646 writes them; fewer than there are tracks, or none, if not known.
	Languages []string
	// Rungs are the renditions of the pictures, the top one, which has the sound,
	// first. None: there is one, main.
	Rungs []string
	// DVR is how long viewers can look back beside the live window; 0: not.
	// The relays are told; the media are kept by a relay.DVR.
	DVR time.Duration
}

// AudioMode says where sound goes beside pictures.
type AudioMode string

const (
	// AudioMuxed puts a single audio track into the rendition of the pictures:
	// half the requests a viewer. Two and more become renditions all the same.
	AudioMuxed AudioMode = "muxed"
	// AudioSeparate makes each audio track a rendition, audio-0, audio-1, …
	AudioSeparate AudioMode = "separate"
)

// OnLoss says what viewers get while nobody publishes a stream that somebody has
// published before.
type OnLoss string

const (
	// GapOnLoss lets the lists go on with segments that are gaps.
	GapOnLoss OnLoss = "gap"
	// SlateOnLoss shows a slate of the stream's codec, if there is one; else gaps.
	SlateOnLoss OnLoss = "slate"
	// StandOnLoss adds nothing: who waits for the next part is refused after three
	// target durations.
	StandOnLoss OnLoss = "stand"
)

// SameKey says which of two encoders publishes that come with a key to the same
// stream.
type SameKey string

const (
	// NewestWins lets the newer one take over, from its first key picture on.
	NewestWins SameKey = "newest_wins"
	// RefuseNewer refuses the newer one while the older one sends.
	RefuseNewer SameKey = "refuse"
)

// Origin packages the streams of one configuration.
type Origin struct {
	config    Config
	journal   *journal
	catalogue *catalogue
	streams   map[string]*stream      // never changes
	switches  map[string]*inputSwitch // never changes
	slates    *slates
	entries   map[string]entry // never changes
	unwritten atomic.Int64     // how often a media journal began to fail
	stopped   chan struct{}    // closed when Run ends
}

// New returns an Origin under a new epoch, which is durable when New returns.
// Nothing is published before that. Restore may be called next, Run must be.
func New(config Config) (*Origin, error) {
	if err := config.prepare(); err != nil {
		return nil, err
	}
	journal, err := openJournal(config.Dir)
	if err != nil {
		return nil, err
	}
	o := &Origin{
		config:  config,
		journal: journal,
		streams: map[string]*stream{}, switches: map[string]*inputSwitch{},
		entries: map[string]entry{},
		stopped: make(chan struct{}),
		slates:  openSlates(filepath.Join(config.Dir, "slates"), config.Logger),
	}
	o.catalogue, err = newCatalogue(config, journal.epoch)
	if err != nil {
		return nil, err
	}
	for _, s := range config.Streams {
		o.entries[s.Name] = s.entry()
		o.streams[s.Name] = o.newStream(s)
		o.switches[s.Name] = o.newSwitch(o.streams[s.Name])
	}
	return o, nil
}

// prepare fills in the defaults and says what is wrong.
func (c *Config) prepare() error {
	if c.Dir == "" || c.Store == nil || len(c.AuthorityKey) != ed25519.PrivateKeySize {
		return errors.New("origin: want a state directory, a store and the authority key")
	}
	if c.Window == 0 {
		c.Window = relay.DefaultWindow
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Streams = append([]StreamConfig(nil), c.Streams...)
	seen := map[string]bool{}
	for i := range c.Streams {
		s := &c.Streams[i]
		if err := relay.ValidStream(s.Name); err != nil {
			return err
		}
		if s.Constants == (relay.Constants{}) {
			s.Constants = relay.DefaultConstants()
		}
		if s.Audio == "" {
			s.Audio = AudioMuxed
		}
		if s.OnLoss == "" {
			s.OnLoss = GapOnLoss
		}
		if s.SameKey == "" {
			s.SameKey = NewestWins
		}
		switch err := s.Constants.Validate(); {
		case err != nil:
			return fmt.Errorf("stream %q: %w", s.Name, err)
		case s.Audio != AudioMuxed && s.Audio != AudioSeparate:
			return fmt.Errorf("stream %q: audio %q: write muxed or separate", s.Name, s.Audio)
		case s.OnLoss != GapOnLoss && s.OnLoss != SlateOnLoss && s.OnLoss != StandOnLoss:
			return fmt.Errorf("stream %q: on loss %q: write gap, slate or stand", s.Name, s.OnLoss)
		case s.PublishKey == "":
			return fmt.Errorf("stream %q has no publish key: give it one", s.Name)
		case s.SameKey != NewestWins && s.SameKey != RefuseNewer:
			return fmt.Errorf("stream %q: same key %q: write newest_wins or refuse", s.Name, s.SameKey)
		case !s.keysDiffer():
			return fmt.Errorf("stream %q: two keys are the same: give each broadcaster its own", s.Name)
		case ValidRungs(s.Rungs) != nil:
			return fmt.Errorf("stream %q: rungs: %w", s.Name, ValidRungs(s.Rungs))
		case seen[s.Name]:
			return fmt.Errorf("stream %q is there twice: give each its own name", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func (o *Origin) newStream(c StreamConfig) *stream {
	out := o.config.Store.Create(c.Name, c.Constants)
	out.SetLength(o.config.Window)
	last, known := o.journal.stream(c.Name)
	news := make(chan struct{}, 1)
	s := &stream{
		StreamConfig: c,
		dir:          o.config.Dir,
		news:         news,
		unwritten:    &o.unwritten,
		window:       o.config.Window,
		store:        o.config.Store,
		out:          out,
		journal:      o.journal,
		catalogue:    o.catalogue,
		slates:       o.slates,
		logger:       o.config.Logger.With("stream", c.Name),
	}
	if slices.Contains(SlateKinds, last.Slate) {
		s.loss.kept = last.Slate
	}
	for _, rendition := range c.rungNames() {
		t := newTimeline(rendition, out.CreateWindow(rendition), o.journal.epoch, c.Constants, o.config.Window, last, known)
		t.news = news
		if s.timeline == nil {
			s.timeline = t
		}
		if t != s.timeline {
			t.lead = s.timeline
		}
		s.pictures = append(s.pictures, &picture{timeline: t})
	}
	return s
}

// rungNames are the renditions of the pictures.
func (c *StreamConfig) rungNames() []string {
	if len(c.Rungs) == 0 {
		return []string{mainRendition}
	}
	return slices.Clone(c.Rungs)
}

// Run keeps the journals until ctx ends. It then ends all publications, with
// their segments sealed, and all control channels.
func (o *Origin) Run(ctx context.Context) error {
	defer close(o.stopped)
	// Saved once more behind the last seal, so the journal ends on its own
	// context.
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		o.journal.run(keep, o.config.Logger)
	}()
	var writing sync.WaitGroup
	for _, s := range o.streams {
		writing.Go(func() { s.writeMedia(keep) })
	}
	<-ctx.Done()
	for _, s := range o.streams {
		s.close()
	}
	stop()
	<-saved
	writing.Wait()
	return nil
}

// MediaJournalFailures returns how often the media journal of a stream began to
// fail: it then waits for the disk to take something again.
func (o *Origin) MediaJournalFailures() int64 { return o.unwritten.Load() }

// Epoch returns the epoch of all media that this Origin publishes.
func (o *Origin) Epoch() relay.Epoch { return o.journal.epoch }

// Publish begins a publication. The newest publisher of a stream wins: an older
// publication is sealed and its Done is closed.
//
// Errors: ErrUnknownStream, ErrCodecUnusable, ErrCodecChanged, ErrEnded,
// ErrClosed.
func (o *Origin) Publish(name string, tracks []Track) (*Publication, error) {
	return o.PublishRung(name, "", tracks)
}

// PublishRung is Publish for a rung of the stream, "" for the top one. Its
// segments are those of the rung that leads, the first that publishes; only that
// one's sound is taken. When the one that leads goes, the next one leads.
func (o *Origin) PublishRung(name, rung string, tracks []Track) (*Publication, error) {
	s := o.streams[name]
	if s == nil {
		return nil, ErrUnknownStream
	}
	return s.publish(rung, tracks, pushed)
}

// End ends a stream for good: its publication is sealed, its lists say that
// nothing will come, and one length of the list later it is taken from the
// catalogue and the store. It can be published again when the origin is
// started anew. Ending twice does nothing.
//
// Errors: ErrUnknownStream, ErrClosed.
func (o *Origin) End(name string) error {
	s := o.streams[name]
	if s == nil {
		return ErrUnknownStream
	}
	return s.end()
}

// Mark adds a date range to all lists of a stream, with the next part. It stays
// while any of its dates is listed; one without an end stays for good.
//
// Errors: ErrUnknownStream, ErrDateRange, ErrEnded, ErrClosed.
func (o *Origin) Mark(name string, d relay.DateRange) error {
	s := o.streams[name]
	if s == nil {
		return ErrUnknownStream
	}
	return s.mark(d)
}
