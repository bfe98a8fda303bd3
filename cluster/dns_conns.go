package cluster

import (
	"container/list"
	"net"
	"sync"
)

// maxTCPConns bounds the connections; one more closes the one that has been
// silent for longest.
const maxTCPConns = 256

// connTable is the open connections, the one silent for longest in front.
type connTable struct {
	mu     sync.Mutex
	conns  *list.List // of net.Conn
	closed bool
}

func newConnTable() *connTable { return &connTable{conns: list.New()} }

// add returns the entry of a connection, or closes it and returns nil when
// the table was closed.
func (t *connTable) add(c net.Conn) *list.Element {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.Close()
		return nil
	}
	if t.conns.Len() >= maxTCPConns {
		oldest := t.conns.Front()
		t.conns.Remove(oldest)
		oldest.Value.(net.Conn).Close()
	}
	return t.conns.PushBack(c)
}

func (t *connTable) touch(e *list.Element) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns.MoveToBack(e)
}

func (t *connTable) remove(e *list.Element) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns.Remove(e)
	e.Value.(net.Conn).Close()
}

func (t *connTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for e := t.conns.Front(); e != nil; e = e.Next() {
		e.Value.(net.Conn).Close()
	}
}
