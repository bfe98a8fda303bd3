package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// requester is one connection of a viewer: one request at a time. done is
// called on the loop's goroutine.
type requester interface {
	get(path string, want func(etag string) bool, done func(*answer))
	close()
}

var _ requester = (*line)(nil)

// swarm is many viewers of one stream in this process.
type swarm struct {
	loop   *loop
	target target
	over   protocol
	tally  *tally
	out    io.Writer         // what is measured goes there
	lists  map[string]*media // by ETag, those that came last
	order  []string          // of lists, oldest first
}

// keptLists bounds the memory of lists: more than there are versions of one,
// whole and delta, in the time that a slow viewer is behind.
const keptLists = 64

// connect opens the nth viewer's connections: one for lists and one for media,
// as a browser does; with HTTP/2 both are one.
func (s *swarm) connect(n int) (lists, media requester, err error) {
	from := sourceAddress(n)
	if s.over != plain {
		web := newWebLine(s.loop, from, s.target.address, s.over)
		return web, web, nil
	}
	first, err := s.loop.dial(from, s.target.address)
	if err != nil {
		return nil, nil, err
	}
	second, err := s.loop.dial(from, s.target.address)
	if err != nil {
		first.close()
		return nil, nil, err
	}
	return first, second, nil
}

// sourceAddress spreads viewers over addresses, as in life: servers count
// connections by address.
func sourceAddress(n int) netip.Addr {
	const addresses = 250
	return netip.AddrFrom4([4]byte{127, 77, 0, byte(1 + n%addresses)})
}

// media returns a list that a viewer got. Equal ones are read once.
func (s *swarm) media(a *answer) (*media, error) {
	if m := s.lists[a.etag]; m != nil {
		return m, nil
	}
	text, err := a.text()
	if err != nil {
		return nil, err
	}
	m, err := parseMedia(text)
	if err != nil || a.etag == "" {
		return m, err
	}
	s.lists[a.etag] = m
	s.order = append(s.order, a.etag)
	if len(s.order) > keptLists {
		delete(s.lists, s.order[0])
		s.order = s.order[1:]
	}
	return m, nil
}

// unknown tells whether a list with this tag has to be read.
func (s *swarm) unknown(etag string) bool { return s.lists[etag] == nil }

// text is the body, unpacked.
func (a *answer) text() (string, error) {
	if !a.gzip {
		return string(a.body), nil
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(a.body))
	if err != nil {
		return "", fmt.Errorf("unpack a list: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, 1<<20))
	return string(text), err
}

// reload is the path of a list with what comes after m, as hls.js asks for it.
func reload(list string, m *media) string {
	if !m.blocks || m.ended {
		return list
	}
	b := append([]byte(list), "?_HLS_msn="...)
	b = strconv.AppendUint(b, m.next.msn, 10)
	b = append(b, "&_HLS_part="...)
	b = strconv.AppendInt(b, int64(m.next.part), 10)
	if m.skips {
		b = append(b, "&_HLS_skip=YES"...)
	}
	return string(b)
}

// retryPause is how long a viewer waits after an error.
const retryPause = time.Second
