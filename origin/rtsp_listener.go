package origin

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// acceptPause is how long to wait after an accept that failed for lack of file
// descriptors. gortsplib would take such an error for the end of the listener.
const acceptPause = 100 * time.Millisecond

// limitedListener bounds the number of connections, in all and per address. A
// connection above is accepted and closed at once: in the backlog it would
// keep others out.
type limitedListener struct {
	net.Listener
	maxTotal, maxPerAddress int
	control                 time.Duration
	logger                  *slog.Logger
	closed                  chan struct{}
	closeOnce               sync.Once

	mu         sync.Mutex
	total      int
	perAddress map[netip.Addr]int
	complained time.Time
}

func newLimitedListener(listener net.Listener, maxTotal, maxPerAddress int, logger *slog.Logger) *limitedListener {
	return &limitedListener{
		Listener:      listener,
		maxTotal:      maxTotal,
		maxPerAddress: maxPerAddress,
		control:       controlTimeout,
		logger:        logger,
		closed:        make(chan struct{}),
		perAddress:    make(map[netip.Addr]int),
	}
}

// Accept returns the next connection within the limits, as a *controlConn.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			l.logger.Error("accept", "error", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-l.closed:
				return nil, net.ErrClosed
			}
		}
		address := addressOf(conn)
		if l.take(address) {
			return newControlConn(conn, l.control, func() { l.giveBack(address) }), nil
		}
		_ = conn.Close()
	}
}

// Close is called once by the server, and ends a pause of Accept.
func (l *limitedListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *limitedListener) take(address netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.maxTotal || l.perAddress[address] >= l.maxPerAddress {
		if time.Since(l.complained) > time.Minute { // a flood is one line a minute
			l.complained = time.Now()
			l.logger.Warn("too many publisher connections, closing new ones", "remote", address,
				"connections", l.total, "of_address", l.perAddress[address])
		}
		return false
	}
	l.total++
	l.perAddress[address]++
	return true
}

func (l *limitedListener) giveBack(address netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.perAddress[address]--; l.perAddress[address] == 0 {
		delete(l.perAddress, address)
	}
}

// addressOf is the remote IP address, for IPv6 its /64, since a host has as
// many of these as it likes.
func addressOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if address.Is6() {
		prefix, _ := address.Prefix(64) // 64 is within range
		return prefix.Addr()
	}
	return address
}

// controlConn closes itself unless it gets to RECORD in time, however busy it
// is meanwhile.
type controlConn struct {
	net.Conn
	timeout time.Duration
	timer   *time.Timer
	closing sync.Once
	onClose func()
}

func newControlConn(conn net.Conn, timeout time.Duration, onClose func()) *controlConn {
	c := &controlConn{Conn: conn, timeout: timeout, onClose: onClose}
	c.timer = time.AfterFunc(timeout, func() { _ = c.Conn.Close() })
	return c
}

// recording ends the control phase.
func (c *controlConn) recording() { c.timer.Stop() }

// resume begins a new control phase, after the session has ended.
func (c *controlConn) resume() { c.timer.Reset(c.timeout) }

// Close is called by the server for each connection, also for those that were
// closed by the timer.
func (c *controlConn) Close() error {
	c.timer.Stop()
	c.closing.Do(c.onClose)
	return c.Conn.Close()
}
