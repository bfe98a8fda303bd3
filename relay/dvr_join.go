package relay

import (
	"context"
	"sync"
)

// joint lets equal requests share one piece of work. The work does not end
// with the one who asked first, nor does its failure outlive it.
type joint[K comparable] struct {
	limit int // pieces of work at once; beyond it the answer is ErrUnavailable

	mu     sync.Mutex
	closed bool
	calls  map[K]*jointCall
	wait   sync.WaitGroup
}

type jointCall struct {
	done chan struct{} // closed when err is set
	err  error
}

// do waits for the work of that key, which it begins if nobody has.
func (j *joint[K]) do(ctx context.Context, key K, work func() error) error {
	call, err := j.join(key, work)
	if err != nil {
		return err
	}
	select {
	case <-call.done:
		return call.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (j *joint[K]) join(key K, work func() error) (*jointCall, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if call := j.calls[key]; call != nil {
		return call, nil
	}
	if j.closed || len(j.calls) >= j.limit {
		return nil, ErrUnavailable
	}
	if j.calls == nil {
		j.calls = map[K]*jointCall{}
	}
	call := &jointCall{done: make(chan struct{})}
	j.calls[key] = call
	j.wait.Go(func() {
		call.err = work()
		j.mu.Lock()
		delete(j.calls, key)
		j.mu.Unlock()
		close(call.done)
	})
	return call, nil
}

// close lets no more work begin and waits for what runs.
func (j *joint[K]) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.wait.Wait()
}
