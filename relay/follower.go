package relay

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// FollowerConfig says whom a follower follows and where it puts what it gets.
type FollowerConfig struct {
	Store      *Store
	Credential *Credential
	Authority  ed25519.PublicKey // who may say which streams there are
	Client     *http.Client      // must not follow redirects; its dialer bounds the connect time
	Logger     *slog.Logger

	// Precedence is told when live media come in. May be nil.
	Precedence *Precedence

	// Origins returns the base URLs (http://127.0.0.1:8080) of the origins, of
	// which one speaks for the authority: none while the pool has no origin, or
	// gossip sees none; those known last are then asked on. The control channel
	// always goes there. It must not block.
	Origins func() []string
	// OriginsChanged returns a channel that is closed when Origins may return
	// something else; nil: it never does.
	OriginsChanged func() <-chan struct{}

	// Parents returns the base URLs from which to fetch lists and media, best
	// first: origins or other relays, never this node. Default Origins.
	Parents func() []string
	// ParentsChanged is to Parents what OriginsChanged is to Origins.
	ParentsChanged func() <-chan struct{}

	// Siblings returns base URLs of other nodes that have the window, best first: a
	// node that joins asks some of them for what is old before it asks its parents.
	// Nil: none are asked. As Parents.
	Siblings func() []string

	// Self returns the id of this node, of a-z, 0-9 and "-", by which parents
	// know their children and a loop is found. Nil: it names none, and takes
	// lists whatever way they came. Called from any goroutine.
	Self func() string
	// Refer is told host:port of nodes to which a full parent sent this one.
	// Called from any goroutine, must not block. May be nil.
	Refer func(to []string)

	// Media are the host:port at which other nodes reach this one: its own and,
	// where that is another, the public one. The origin is told with the control
	// channel, so that one that has lost all can ask for what is held here.
	Media []string

	// DVR keeps what viewers can look back on; nil: nothing.
	DVR *DVR
}

// Follower keeps the store of a relay equal to that of its parents. What it
// has, it keeps when they are gone.
type Follower struct {
	FollowerConfig

	mu        sync.Mutex
	catalogue Catalogue // the newest; zero before the first
	line      []byte    // as it came, signed
	streams   map[string]*following
	switches  int64             // from one parent to another
	aims      map[string]string // ids of the nodes that are asked for the next lists, by path
	warm      bool              // as last announced
	changed   chan struct{}     // closed when warm changes
	awake     chan struct{}     // closed when the epoch changes
	haste     chan struct{}     // holds one: the control channel is to be tried at once
	wait      sync.WaitGroup
}

// following is a stream that is being followed.
type following struct {
	cancel     context.CancelFunc
	stream     *Stream
	renditions []string
	epoch      Epoch         // of the catalogue that had the revision
	revision   uint64        // of the multivariant playlist, as the catalogue has it
	revised    chan struct{} // buffered: the catalogue has a new revision
	parents    *parents      // to ask for that playlist
	recording  *recordingLife
}

// NewFollower returns a follower; Run makes it follow.
func NewFollower(c FollowerConfig) *Follower {
	if c.Parents == nil {
		c.Parents, c.ParentsChanged = c.Origins, c.OriginsChanged
	}
	return &Follower{FollowerConfig: c, streams: map[string]*following{}, aims: map[string]string{}, changed: make(chan struct{}), awake: make(chan struct{}), haste: make(chan struct{}, 1)}
}

// Run follows until ctx ends, and returns when all that it started has ended.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.wait.Wait()
	defer cancel()
	pause := backoff{most: controlPause}
	origins := newParents(f.Origins)
	for try := 0; ctx.Err() == nil; try++ {
		if f.await(ctx, origins.order, f.OriginsChanged) != nil {
			break
		}
		base := pick(origins.order(), try)
		began := time.Now()
		err := f.control(ctx, base)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > keepAliveLost {
			pause, try = backoff{most: controlPause}, -1 // it did work for a while
		}
		f.Logger.Warn("control channel lost", "origin", base, "err", err)
		pause.wait(ctx, f.haste)
	}
	return context.Cause(ctx)
}

// controlPause bounds the pause between two tries of the control channel: an
// origin that starts again learns by it which relays hold its past, and waits
// little longer.
const controlPause = time.Second

// hurry ends the pause of the control channel: what came in tells that the
// origin is there, and of another epoch.
func (f *Follower) hurry() {
	select {
	case f.haste <- struct{}{}:
	default: // it is being hurried
	}
}

// awoken returns a channel that is closed when the authority says that it lives
// under another epoch: who waits for it to come back need not wait longer.
func (f *Follower) awoken() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.awake
}

// await waits until some upstream is known. Error: the context's, also where
// one is.
func (f *Follower) await(ctx context.Context, list func() []string, changed func() <-chan struct{}) error {
	for ctx.Err() == nil {
		var change <-chan struct{}
		if changed != nil {
			change = changed()
		}
		if len(list()) > 0 {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// pick returns the one to use at the nth try in a row; "" of none.
func pick(all []string, try int) string {
	if len(all) == 0 {
		return ""
	}
	return all[try%len(all)]
}

// Warm tells whether the catalogue is known and every live stream of it has
// its whole window here.
func (f *Follower) Warm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isWarm()
}

// isWarm needs f.mu.
func (f *Follower) isWarm() bool {
	if f.catalogue.Version == 0 {
		return false
	}
	for _, s := range f.catalogue.Streams {
		if s.Live && (f.streams[s.Name] == nil || f.streams[s.Name].stream.Index() == nil) {
			return false
		}
	}
	return true
}

// Changed returns a channel that is closed when Warm changes.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// announce tells those who wait on Changed.
func (f *Follower) announce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if warm := f.isWarm(); warm != f.warm {
		f.warm = warm
		close(f.changed)
		f.changed = make(chan struct{})
	}
}

// epoch returns the authority's epoch as far as it is known.
func (f *Follower) epoch() Epoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.catalogue.Epoch
}

// Lag returns the age of the newest media of the stream that is farthest
// behind: from the end of its last part to now. False when there is none.
func (f *Follower) Lag() (time.Duration, bool) { return f.Store.Lag() }

// take follows what a catalogue newer than the last one says.
func (f *Follower) take(ctx context.Context, c Catalogue, line []byte) {
	f.mu.Lock()
	if f.catalogue.Version != 0 && !c.newer(f.catalogue) {
		f.mu.Unlock()
		return
	}
	if c.Epoch != f.catalogue.Epoch {
		close(f.awake)
		f.awake = make(chan struct{})
	}
	f.catalogue, f.line = c, line
	for name := range f.streams {
		if !slices.ContainsFunc(c.Streams, func(s CatalogueStream) bool { return s.Name == name }) {
			f.drop(name)
		}
	}
	for _, s := range c.Streams {
		if s.Live {
			f.follow(ctx, s)
		}
	}
	f.mu.Unlock()
	f.forgetOthers(c.Streams)
	f.announce()
}

// drop needs f.mu.
func (f *Follower) drop(name string) {
	f.streams[name].cancel()
	if life := f.streams[name].recording; life != nil {
		life.cancel()
	}
	for _, rendition := range f.streams[name].renditions {
		delete(f.aims, "/"+name+"/"+rendition+"/")
	}
	delete(f.streams, name)
	f.Store.Remove(name)
	f.Logger.Info("stream removed", "stream", name)
}

// follow begins to follow a stream, or what is new of it. It needs f.mu.
func (f *Follower) follow(ctx context.Context, s CatalogueStream) {
	if old := f.streams[s.Name]; old != nil &&
		(old.stream.Constants != s.Constants || !slices.Equal(old.renditions, s.Renditions)) {
		f.drop(s.Name) // born anew: what players know of it no longer holds
	}
	one := f.streams[s.Name]
	if one == nil {
		var inner context.Context
		one = &following{
			stream: f.Store.Create(s.Name, s.Constants), revised: make(chan struct{}, 1), parents: newParents(f.Parents),
		}
		inner, one.cancel = context.WithCancel(ctx)
		f.streams[s.Name] = one
		f.Logger.Info("stream found", "stream", s.Name)
		f.followRenditions(inner, one, s.Renditions) // first: the index waits for their windows
		f.wait.Go(func() { f.followIndex(inner, one) })
	}
	one.stream.SetLength(cmp.Or(s.Window, DefaultWindow))
	f.record(ctx, one, s.DVR)
	if one.revision != s.Revision || one.epoch != f.catalogue.Epoch {
		one.revision, one.epoch = s.Revision, f.catalogue.Epoch
		select {
		case one.revised <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// followRenditions begins a window's follower for each. It needs f.mu.
func (f *Follower) followRenditions(ctx context.Context, one *following, renditions []string) {
	one.renditions = renditions
	for _, rendition := range renditions {
		r := newFetcher(f, one.stream.CreateWindow(rendition), "/"+one.stream.Name+"/"+rendition+"/",
			f.Logger.With("stream", one.stream.Name, "rendition", rendition))
		f.wait.Go(func() { r.run(ctx) })
	}
}

// followIndex keeps the multivariant playlist. It is set when all windows are
// filled, so that nobody is led to a list that is not there yet.
func (f *Follower) followIndex(ctx context.Context, one *following) {
	for _, rendition := range one.stream.Renditions() {
		w := one.stream.Window(rendition)
		for v, changed, _ := w.snapshot(); v == nil; v, changed, _ = w.snapshot() {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
	for {
		select {
		case <-one.revised:
		case <-ctx.Done():
			return
		}
		f.fetchIndex(ctx, one)
		if !one.behindRelay() {
			continue
		}
		// The catalogue told the parent too, in the same moment: it may have
		// answered before it had the new one.
		select {
		case <-time.After(one.stream.Constants.TargetDuration):
			f.fetchIndex(ctx, one)
		case <-ctx.Done():
			return
		}
	}
}

// behindRelay tells whether lists come by way of another relay.
func (one *following) behindRelay() bool {
	for _, rendition := range one.stream.Renditions() {
		if v := one.stream.Window(rendition).Version(); v != nil && len(v.chain) > 1 {
			return true
		}
	}
	return false
}

// fetchIndex gets the multivariant playlist from the parents in turn.
func (f *Follower) fetchIndex(ctx context.Context, one *following) {
	pause := backoff{}
	for try := 0; f.await(ctx, one.parents.order, f.ParentsChanged) == nil; try++ {
		text, _, err := f.get(ctx, pick(one.parents.order(), try)+"/"+one.stream.Name+"/index.m3u8", maxPlaylistBytes, answerPatience)
		if err == nil {
			_, err = ParseMultivariant(text)
		}
		if err == nil {
			one.stream.SetIndex(text)
			f.announce()
			return
		}
		if ctx.Err() == nil {
			f.Logger.Warn("fetch the multivariant playlist", "stream", one.stream.Name, "err", err)
		}
		pause.wait(ctx, nil)
	}
}
