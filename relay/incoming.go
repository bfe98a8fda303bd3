package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// incoming is an object while its bytes arrive: one writes, any number read
// behind it, from wherever they are. When the upstream breaks off, the fetch
// goes on at another one and the readers wait; they fail only with the last
// upstream.
type incoming struct {
	name     MediaName
	duration time.Duration
	budget   *budget

	mu      sync.Mutex
	body    []byte        // what is here; bytes below its length never change
	size    int           // of the whole object; negative: not known yet
	ended   bool          // nothing more comes
	err     error         // why, unless the object is whole
	changed chan struct{} // closed when there is more, or the end
}

// maxObjectBytes bounds one media object: some seconds of the fattest feed. A
// larger one is refused whole.
const maxObjectBytes = 64 << 20

// Room for arriving bytes: at once for what an upstream says will come, up to
// trustedBytes, then as they really come.
const (
	trustedBytes = 4 << 20
	firstBytes   = 32 << 10
)

// Why a body is not taken.
var (
	errSize     = fmt.Errorf("an object of 1 to %d bytes was expected", maxObjectBytes)
	errShort    = errors.New("the body is shorter than it should be")
	errConflict = errors.New("the upstream has other bytes under this name")
)

func newIncoming(name MediaName, duration time.Duration, b *budget) *incoming {
	return &incoming{name: name, duration: duration, budget: b, size: -1, changed: make(chan struct{})}
}

// begin makes an object that begins to arrive known, so that readers behind it
// can start. It may be called again when the fetch goes on elsewhere.
func (w *Window) begin(in *incoming) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.coming[in.name] == in {
		return
	}
	w.coming[in.name] = in
	if a := w.awaited[in.name]; a != nil && a.arriving == nil {
		a.arriving = in
		close(a.begun)
	}
}

// land makes an object that arrived whole one of the window's.
func (w *Window) land(in *incoming) error {
	body := in.take()
	w.mu.Lock()
	delete(w.coming, in.name)
	err := w.put(&Object{Name: in.name, Body: body, Duration: in.duration})
	w.mu.Unlock()
	in.end(err)
	return err
}

// abandon ends an object that no upstream gave whole. Who waits for it may
// still get it: by the next fetch.
func (w *Window) abandon(in *incoming, err error) {
	w.mu.Lock()
	if w.coming[in.name] == in {
		delete(w.coming, in.name)
	}
	if a := w.awaited[in.name]; a != nil && a.arriving == in {
		a.arriving, a.begun = nil, make(chan struct{})
	}
	w.mu.Unlock()
	in.take()
	in.end(err)
}

// expect says how large the whole object is.
func (in *incoming) expect(size int64) error {
	if size <= 0 || size > maxObjectBytes {
		return errSize
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.size >= 0 && in.size != int(size) {
		return fmt.Errorf("%w: %d instead of %d", errConflict, size, in.size)
	}
	in.size = int(size)
	in.notify()
	return nil
}

// readFrom takes bytes until the end of r. It returns nil when the object is
// whole.
func (in *incoming) readFrom(r io.Reader) error {
	for {
		room, err := in.room()
		if err != nil {
			return err
		}
		n, err := r.Read(room)
		if err := in.advance(n); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return in.complete()
		case err != nil:
			return fmt.Errorf("read body: %w", err)
		}
	}
}

// room returns where the next bytes go: beyond what readers see.
func (in *incoming) room() ([]byte, error) {
	have, want := len(in.body), max(firstBytes, 2*len(in.body))
	if in.size >= 0 {
		if have == in.size {
			return make([]byte, 1), nil // for the end, or for one byte too many
		}
		want = min(in.size, max(trustedBytes, 2*have))
	}
	if have > maxObjectBytes {
		return nil, errSize
	}
	if have == cap(in.body) {
		if !in.budget.take(int64(want - cap(in.body))) {
			return nil, ErrBudget
		}
		larger := make([]byte, have, want)
		copy(larger, in.body)
		in.mu.Lock()
		in.body = larger
		in.mu.Unlock()
	}
	return in.body[have:cap(in.body)], nil
}

// advance shows n more bytes to the readers.
func (in *incoming) advance(n int) error {
	if n == 0 {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.size >= 0 && len(in.body)+n > in.size {
		return fmt.Errorf("%w: more than %d bytes", errConflict, in.size)
	}
	in.body = in.body[:len(in.body)+n]
	in.notify()
	return nil
}

// complete tells whether the object is whole, at the end of a body.
func (in *incoming) complete() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.body) == 0 || in.size >= 0 && len(in.body) != in.size {
		return fmt.Errorf("%w: %d of %d bytes", errShort, len(in.body), in.size)
	}
	in.size = len(in.body)
	return nil
}

// length returns how many bytes are here, and how many there will be; negative
// when that is not known.
func (in *incoming) length() (have, size int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.body), in.size
}

// take returns the bytes, no longer counted here, without room behind them.
func (in *incoming) take() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.budget.give(int64(cap(in.body)))
	if len(in.body) < cap(in.body)*7/8 {
		return append(make([]byte, 0, len(in.body)), in.body...)
	}
	return in.body[:len(in.body):len(in.body)]
}

// end lets the readers go: with the rest, or with an error.
func (in *incoming) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended, in.err = true, err
	in.notify()
}

// notify needs in.mu.
func (in *incoming) notify() {
	close(in.changed)
	in.changed = make(chan struct{})
}

// next returns the bytes from offset on as soon as there are any; none and no
// error at the end of the object. The bytes must not be changed.
func (in *incoming) next(ctx context.Context, offset int) ([]byte, error) {
	for {
		in.mu.Lock()
		more, ended, err, changed := in.body[offset:], in.ended, in.err, in.changed
		in.mu.Unlock()
		switch {
		case len(more) > 0:
			return more, nil
		case ended:
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
