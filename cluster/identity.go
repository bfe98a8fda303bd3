package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
)

// newName makes the identity of this start of the process. It is never stored,
// so a copied disk can't bring a second node of the same name.
func newName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Name is our identity, new at each start of the process: 32 hex digits. It
// changes when another node turns out to have it, as the twin of a machine
// that was copied with its memory does.
func (n *Node) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// Renames is how often another node turned out to have our name.
func (n *Node) Renames() int64 { return n.renames.Load() }

// rename takes a new name. No view is without us in between.
func (n *Node) rename() {
	n.mu.Lock()
	old := n.name
	n.name = n.draw()
	n.born++ // the others may see both names at our address for a while
	n.view.replace(old, n.selfLocked())
	n.mu.Unlock()
	n.renames.Add(1)
	n.log.Warn("took another name, another node has the old one", "was", old)
}

// Logger returns a logger whose lines bear the name that the node then has.
func (n *Node) Logger() *slog.Logger { return n.log }

// named adds the node's name to each line, when it is written: the name may
// change.
type named struct {
	slog.Handler
	node *Node
}

// Handle implements slog.Handler.
func (h named) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(slog.String("node", h.node.Name()))
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h named) WithAttrs(attrs []slog.Attr) slog.Handler {
	return named{h.Handler.WithAttrs(attrs), h.node}
}

// WithGroup implements slog.Handler.
func (h named) WithGroup(name string) slog.Handler { return named{h.Handler.WithGroup(name), h.node} }
