package origin

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// handshakeTimeout is how long a connection may take from its acceptance to
	// its admission as a publisher, however busy it is meanwhile, and how long
	// it may stay after its publication has ended.
	handshakeTimeout = 10 * time.Second

	// acceptPause is how long to wait after an accept that failed for lack of
	// file descriptors. Servers would take such an error for the end of the
	// listener.
	acceptPause = 100 * time.Millisecond
)

// places bounds the connections of publishers by all protocols, in all and per
// address. Beyond a bound the oldest connection that was not admitted yet gives
// its place to the new one, so that those who only knock keep nobody out; where
// all were admitted, the new one gets none.
type places struct {
	maxTotal, maxPerAddress int
	logger                  *slog.Logger

	mu         sync.Mutex
	taken      []*place // in the order of coming
	complained time.Time
}

// place is that of one connection.
type place struct {
	places   *places
	address  netip.Addr
	admitted bool   // guarded by places.mu
	evict    func() // closes the connection, from any goroutine
}

// take returns a place for a connection from address. evict is called, at most
// once, when another one needs it.
func (p *places) take(address netip.Addr, evict func()) (*place, bool) {
	p.mu.Lock()
	victim, ok := p.makeRoom(address)
	var one *place
	if ok {
		one = &place{places: p, address: address, evict: evict}
		p.taken = append(p.taken, one)
	}
	p.mu.Unlock()
	if victim != nil {
		victim.evict()
	}
	return one, ok
}

// makeRoom removes the connection that has to give its place to one from
// address, if one has to; ok is false when none can.
func (p *places) makeRoom(address netip.Addr) (victim *place, ok bool) {
	waiting, of := map[netip.Addr]int{}, 0
	for _, one := range p.taken {
		if !one.admitted {
			waiting[one.address]++
		}
		if one.address == address {
			of++
		}
	}
	crowded := of >= p.maxPerAddress
	if !crowded && len(p.taken) < p.maxTotal {
		return nil, true
	}
	p.complain(address, of)
	for _, one := range p.taken {
		if one.admitted || crowded && one.address != address {
			continue
		}
		// The one who knocks most often is the one to wait.
		if victim == nil || waiting[one.address] > waiting[victim.address] {
			victim = one
		}
	}
	if victim == nil {
		return nil, false
	}
	p.remove(victim)
	return victim, true
}

// complain tells of a full house, in a line a minute however many knock.
func (p *places) complain(address netip.Addr, of int) {
	if time.Since(p.complained) < time.Minute {
		return
	}
	p.complained = time.Now()
	p.logger.Warn("too many publisher connections, those that don't publish are closed", "remote", address,
		"connections", len(p.taken), "of_address", of)
}

func (p *places) remove(one *place) {
	if i := slices.Index(p.taken, one); i >= 0 {
		p.taken = slices.Delete(p.taken, i, i+1)
	}
}

// admit says whether the connection publishes: nobody can take its place then.
func (one *place) admit(admitted bool) {
	one.places.mu.Lock()
	defer one.places.mu.Unlock()
	one.admitted = admitted
}

// leave gives the place back. Leaving twice does nothing.
func (one *place) leave() {
	one.places.mu.Lock()
	defer one.places.mu.Unlock()
	one.places.remove(one)
}

// limitedListener accepts the connections that have a place, as *pendingConn.
// One without is accepted and closed at once: in the backlog it would keep
// others out.
type limitedListener struct {
	net.Listener
	places    *places
	handshake time.Duration
	closed    chan struct{}
	closeOnce sync.Once
}

func newLimitedListener(listener net.Listener, places *places) *limitedListener {
	return &limitedListener{Listener: listener, places: places, handshake: handshakeTimeout, closed: make(chan struct{})}
}

// Accept returns the next connection within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			l.places.logger.Error("accept", "error", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-l.closed:
				return nil, net.ErrClosed
			}
		}
		if place, ok := l.places.take(addressOf(conn.RemoteAddr()), func() { _ = conn.Close() }); ok {
			return newPendingConn(conn, l.handshake, place), nil
		}
		_ = conn.Close()
	}
}

// Close is called once by the server, and ends a pause of Accept.
func (l *limitedListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// addressOf is the IP address of a remote, for IPv6 its /64, since a host has
// as many of these as it likes.
func addressOf(remote net.Addr) netip.Addr {
	var address netip.Addr
	switch remote := remote.(type) {
	case *net.TCPAddr:
		address = remote.AddrPort().Addr()
	case *net.UDPAddr:
		address = remote.AddrPort().Addr()
	}
	address = address.Unmap().WithZone("")
	if address.Is6() {
		prefix, _ := address.Prefix(64) // 64 is within range
		return prefix.Addr()
	}
	return address
}

// pendingConn closes itself unless it is admitted in time.
type pendingConn struct {
	net.Conn
	reads   *bufio.Reader
	timeout time.Duration
	timer   *time.Timer
	place   *place
}

// connReadBuffer is read at once where a burst has come: the servers above ask
// for 4 kB, three packets of a key picture that has three hundred. The bound of
// connections bounds these, too.
const connReadBuffer = 64 << 10

// Read is of net.Conn. One goroutine at a time reads.
func (c *pendingConn) Read(b []byte) (int, error) { return c.reads.Read(b) }

func newPendingConn(conn net.Conn, timeout time.Duration, place *place) *pendingConn {
	c := &pendingConn{Conn: conn, reads: bufio.NewReaderSize(conn, connReadBuffer), timeout: timeout, place: place}
	c.timer = time.AfterFunc(timeout, func() { _ = c.Conn.Close() })
	return c
}

// pendingOf finds the pendingConn below what a server has laid over it.
func pendingOf(conn net.Conn) (*pendingConn, bool) {
	for {
		switch c := conn.(type) {
		case *pendingConn:
			return c, true
		case interface{ NetConn() net.Conn }: // a *tls.Conn
			conn = c.NetConn()
		default:
			return nil, false
		}
	}
}

// awaitMedia gives who has shown the key time for its first media.
func (c *pendingConn) awaitMedia() {
	c.place.admit(true)
	c.timer.Reset(mediaTimeout)
}

// admitted ends the time for the handshake: the connection publishes.
func (c *pendingConn) admitted() {
	c.timer.Stop()
	c.place.admit(true)
}

// resume begins it anew, after the publication has ended.
func (c *pendingConn) resume() {
	c.place.admit(false)
	c.timer.Reset(c.timeout)
}

// Close is called by the server for each connection, also for those that were
// closed by the timer or for another one.
func (c *pendingConn) Close() error {
	c.timer.Stop()
	c.place.leave()
	return c.Conn.Close()
}
