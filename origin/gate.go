package origin

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// How a protocol brings a publisher in; docs/ARCHITECTURE.md has the rules.
//
//	listener ─▶ handshake ─▶ Gate.admit ─▶ admission.open ─▶ ingest.enqueue … ingest.end
//	 (places)                 key, policy    essences          timedUnit
//	                                            └─▶ ingest.run, on a goroutine of its own

// Why a publisher is not admitted.
var (
	// ErrKeyRefused does not tell which of both, so that nobody can find out
	// which streams there are.
	ErrKeyRefused = errors.New("wrong key or unknown stream")

	// ErrUnknownBranch is told to who knows the key.
	ErrUnknownBranch = errors.New("the stream has no such branch: push to the stream itself, or to one of its branches")

	// ErrTaken: another encoder publishes the stream, and the newer one does not
	// win, by the stream's SameKey or since it asked not to.
	ErrTaken = errors.New("another encoder has the stream")
)

const (
	defaultMaxConnections           = 64
	defaultMaxConnectionsPerAddress = 16

	// aliveFor is how long an encoder that sends nothing keeps its stream from
	// others under RefuseNewer: an encoder that lost its link without a word
	// gets in again after this.
	aliveFor = 2 * time.Second
)

// GateConfig configures a Gate.
type GateConfig struct {
	// Origin takes the publications. Required.
	Origin *Origin

	// MaxConnections bounds the connections of all publishers together,
	// MaxConnectionsPerAddress those of one IP address. Defaults: 64 and 16.
	// Beyond, those give way that were not admitted yet.
	MaxConnections, MaxConnectionsPerAddress int

	// Logger, default none.
	Logger *slog.Logger
}

// Gate admits publishers, by whatever protocol they come.
type Gate struct {
	publishers publishers
	logger     *slog.Logger
	places     *places
	failures   *failures

	mu    sync.Mutex
	feeds map[*ingest]*Feed // those that run
}

// publishers is what a Gate needs of an Origin.
type publishers interface {
	// entry tells who may publish a stream; ok is false for unknown streams.
	entry(stream string) (e entry, ok bool)
	// maxKeys is the largest number of keys that a stream has.
	maxKeys() int
	// accepts tells why a branch of a stream, "" for the stream itself, can't
	// take these tracks, as far as is known before their first picture.
	accepts(stream, branch string, tracks []Track) error
	publish(stream, branch string, tied bool, tracks []Track) (publication, error)
}

// entry is what a stream asks of its publishers.
type entry struct {
	keys     []publishKey // to the stream and to all its branches
	sameKey  SameKey
	branches []string // that there are beside the stream itself
	rungs    []string // those of them that pictures of one feed can be
}

// pictures is how many pictures are taken of a feed to a branch.
func (e entry) pictures(branch string) int {
	if len(e.rungs) > 0 && (branch == "" || branch == e.rungs[0]) {
		return len(e.rungs)
	}
	return 1
}

// publishKey is one of the keys to a stream.
type publishKey struct {
	broadcaster string // "" for the key of the stream itself
	key         string
}

// NewGate returns a gate to the streams of an Origin.
func NewGate(config GateConfig) *Gate {
	return newGate(config, originPublishers{config.Origin})
}

func newGate(config GateConfig, publishers publishers) *Gate {
	if config.MaxConnections == 0 {
		config.MaxConnections = defaultMaxConnections
	}
	if config.MaxConnectionsPerAddress == 0 {
		config.MaxConnectionsPerAddress = defaultMaxConnectionsPerAddress
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Gate{
		publishers: publishers,
		logger:     config.Logger,
		places:     &places{maxTotal: config.MaxConnections, maxPerAddress: config.MaxConnectionsPerAddress, logger: config.Logger},
		failures:   newFailures(),
		feeds:      make(map[*ingest]*Feed),
	}
}

// listen lays the limits over a listener.
func (g *Gate) listen(listener net.Listener) *limitedListener {
	return newLimitedListener(listener, g.places)
}

// branchForm is that of the name of a branch.
var branchForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// splitBranch splits what a client calls the stream, STREAM or STREAM/BRANCH,
// which is not to be trusted: the gate knows which there are.
func splitBranch(name string) (stream, branch string) {
	stream, branch, _ = strings.Cut(strings.Trim(name, "/"), "/")
	return stream, branch
}

// proof tells whether a client has shown that it knows the key. Its time may
// not depend on how much of the key is right.
type proof func(key string) bool

// plainKey is the proof of a client that sends the key itself.
func plainKey(sent string) proof {
	return func(key string) bool { return equalSecret(sent, key) }
}

// equalSecret compares in a time that depends on neither text nor length.
func equalSecret(a, b string) bool {
	hashA, hashB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(hashA[:], hashB[:]) == 1
}

// attempt is a client that wants to publish.
type attempt struct {
	protocol string // for the log: "RTSP"
	stream   string
	branch   string // of the stream, "" for the stream itself
	proof    proof
	remote   net.Addr
	yields   bool // it does not want to throw another one out
	tied     bool // its clock is the PTS of the stream's top rung
}

// admission lets one client publish one stream.
type admission struct {
	attempt
	broadcaster string // whose key it was, "" for the stream's own
	sameKey     SameKey
	pictures    int      // how many of a feed are taken
	rungs       []string // what they are
	gate        *Gate
	logger      *slog.Logger
}

// admit checks a client's key. A refusal for a wrong key is delayed after some
// of them from one address, until ctx ends.
//
// Errors: ErrKeyRefused, ErrUnknownBranch, ErrTaken.
func (g *Gate) admit(ctx context.Context, a attempt) (*admission, error) {
	e, known := g.publishers.entry(a.stream)
	broadcaster, valid := g.keyOf(e, a.proof)
	if !valid {
		g.refuseKey(ctx, a, known)
		return nil, ErrKeyRefused
	}
	logger := g.logger.With("stream", a.stream, "protocol", a.protocol, "remote", a.remote.String())
	if a.branch != "" {
		logger = logger.With("branch", a.branch)
	}
	if broadcaster != "" {
		logger = logger.With("broadcaster", broadcaster)
	}
	if a.branch != "" && !slices.Contains(e.branches, a.branch) {
		err := fmt.Errorf("%w: %q has %s", ErrUnknownBranch, a.stream, cmp.Or(strings.Join(e.branches, ", "), "none"))
		g.logger.Warn("encoder refused", "reason", err, "stream", a.stream, "protocol", a.protocol, "remote", a.remote.String())
		return nil, err
	}
	admitted := &admission{attempt: a, broadcaster: broadcaster, sameKey: e.sameKey, pictures: e.pictures(a.branch), rungs: e.rungs, gate: g, logger: logger}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := admitted.free(); err != nil {
		return nil, err
	}
	return admitted, nil
}

// invite admits a source that the configuration names for a stream
// or a branch of one, and needs no key. It throws nobody out: who pushes there
// comes before who is asked.
//
// Errors: ErrTaken.
func (g *Gate) invite(protocol, stream, branch string, remote net.Addr) (*admission, error) {
	e, _ := g.publishers.entry(stream)
	a := attempt{protocol: protocol, stream: stream, branch: branch, remote: remote, yields: true}
	logger := g.logger.With("stream", stream, "protocol", protocol, "remote", remote.String())
	if branch != "" {
		logger = logger.With("branch", branch)
	}
	invited := &admission{attempt: a, sameKey: e.sameKey, pictures: e.pictures(branch), rungs: e.rungs, gate: g, logger: logger}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken(invited) {
		return nil, ErrTaken
	}
	return invited, nil
}

// keyOf tries all keys, and always as many as any stream has, with keys that
// nobody knows in place of those that are missing: neither answer nor time tells
// which streams there are.
func (g *Gate) keyOf(e entry, proof proof) (broadcaster string, valid bool) {
	decoy := rand.Text()
	for i := range g.publishers.maxKeys() {
		key := publishKey{key: decoy}
		if i < len(e.keys) {
			key = e.keys[i]
		}
		if proof(key.key) && key.key != decoy {
			broadcaster, valid = key.broadcaster, true
		}
	}
	return broadcaster, valid
}

// refuseKey logs and delays the refusal of a wrong key. A stream that isn't
// configured is not named: people paste keys into the wrong place.
func (g *Gate) refuseKey(ctx context.Context, a attempt, known bool) {
	stream := a.stream
	if !known {
		stream = ""
	}
	g.logger.Warn("encoder refused", "reason", ErrKeyRefused, "stream", stream, "protocol", a.protocol, "remote", a.remote.String())
	if delay := g.failures.add(addressOf(a.remote), time.Now()); delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// free tells whether the stream is there for this client. It needs gate.mu.
func (a *admission) free() error {
	if a.gate.taken(a) {
		a.logger.Warn("encoder refused", "reason", ErrTaken)
		return ErrTaken
	}
	return nil
}

// taken tells whether another one has the stream and keeps it. It needs mu.
func (g *Gate) taken(a *admission) bool {
	for in, other := range g.feeds {
		if other.Stream == a.stream && other.Branch == a.branch && (a.yields || a.sameKey == RefuseNewer && in.alive(time.Now())) {
			return true
		}
	}
	return false
}

// check tells what is wrong with the tracks, as open would, for protocols that
// can say it to the client before media come.
func (a *admission) check(tracks []essence) error {
	_, err := a.choose(announcement{tracks: tracks})
	return err
}

// choose picks the tracks that are published, and logs why none are.
func (a *admission) choose(n announcement) (chosenEssences, error) {
	chosen, err := chooseEssences(n.tracks, a.pictures, n.lenient)
	if err == nil {
		err = a.gate.publishers.accepts(a.stream, a.branch, chosen.tracks())
	}
	if err != nil {
		a.logger.Warn("encoder refused", "reason", err)
	}
	return chosen, err
}

// announcement is what a client says it will send.
type announcement struct {
	transport string    // for the log: "TCP"
	tracks    []essence // all of them, in the client's order
	tie       clockTie  // nil where all tracks count on one clock

	// line is asked once a second while the feed runs; nil: nothing is known.
	line func() lineHealth

	// lenient leaves out sound that can't be published, where nobody can be
	// told to send another.
	lenient bool
}

// open checks the tracks and returns the ingest to send their units to. The
// stream is taken over with the first key picture: newest wins, but only once
// there is something to show.
//
// Errors: ErrTaken, and what is wrong with the tracks.
func (a *admission) open(n announcement) (*ingest, error) {
	tracks, err := a.choose(n)
	if err != nil {
		return nil, err
	}
	var in *ingest
	in = newIngest(n, tracks, func(tracks []Track) (publication, error) {
		p, err := a.gate.publishers.publish(a.stream, a.branch, a.tied, tracks)
		first := p
		if b, ok := p.(*bundle); ok {
			first = b.publication
		}
		if input, ok := first.(*switchInput); ok {
			a.gate.join(in, input)
		}
		return p, err
	}, a.logger)
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	if err := a.free(); err != nil {
		return nil, err
	}
	notes := tracks.notes()
	if a.branch == "" && !tracks.hasSound() {
		notes = append(notes, silentNote)
	}
	a.gate.feeds[in] = &Feed{
		Stream: a.stream, Branch: a.branch, Protocol: a.protocol, Transport: n.transport, Broadcaster: a.broadcaster,
		Remote: a.remote.String(), Codecs: tracks.names(), Since: time.Now(), Notes: notes,
	}
	in.gone = func() {
		a.gate.mu.Lock()
		defer a.gate.mu.Unlock()
		delete(a.gate.feeds, in)
	}
	if n := tracks.pictures(); n > 1 {
		a.gate.feeds[in].Rungs = a.rungs[:n]
	}
	for _, note := range notes {
		a.logger.Warn(note)
	}
	a.logger.Info("encoder connected", "transport", n.transport, "codecs", tracks.names())
	return in, nil
}

// join notes which input of its stream an ingest has become.
func (g *Gate) join(in *ingest, input *switchInput) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if feed := g.feeds[in]; feed != nil {
		feed.input = input
	}
}

// end tells an ingest, nil if it was never opened, why nothing comes any more.
func (a *admission) end(in *ingest, reason error) {
	if in == nil {
		a.logger.Warn("encoder gone before it published", "reason", reason)
		return
	}
	in.end(reason)
}
