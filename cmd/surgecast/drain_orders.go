package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// drainOrders are what operators said of a node's draining. The last order
// holds, also for the next process on this machine: its flag is a file.
type drainOrders struct {
	file string

	mu      sync.Mutex
	order   drainOrder
	sealed  bool          // the process was told to end: nothing takes that back
	changed chan struct{} // closed at the next order
}

// drainFileName is the flag, in the node's state folder.
const drainFileName = "drain"

// drainOrder is one of them.
type drainOrder int

const (
	orderStay  drainOrder = iota
	orderHold             // drained by an earlier process's order: out of service, and not to end by itself
	orderLeave            // drain, and then end
)

// errEnding is what an order comes too late for.
var errEnding = errors.New("this node was told to end by a signal, which can't be taken back: start it again when it has ended")

// openDrainOrders reads what an earlier process was told.
func openDrainOrders(file string) (*drainOrders, error) {
	o := &drainOrders{file: file, changed: make(chan struct{})}
	switch _, err := os.Stat(file); {
	case err == nil:
		o.order = orderHold
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read drain flag: %w", err)
	}
	return o, nil
}

// take takes an order. The flag is on disk when it returns nil.
func (o *drainOrders) take(drain bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed && !drain {
		return errEnding
	}
	if drain {
		if err := os.WriteFile(o.file, fmt.Appendf(nil, "drained by an operator's order at %s\n", time.Now().UTC().Format(time.RFC3339)), 0o600); err != nil {
			return fmt.Errorf("keep drain flag: %w", err)
		}
		o.order = orderLeave
	} else {
		if err := os.Remove(o.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove drain flag: %w", err)
		}
		o.order = orderStay
	}
	o.notify()
	return nil
}

// seal makes what was told to end stay so.
func (o *drainOrders) seal() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sealed = true
	o.notify()
}

// notify needs o.mu.
func (o *drainOrders) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next order.
func (o *drainOrders) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// stays tells whether the node is to be in service.
func (o *drainOrders) stays() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.order == orderStay && !o.sealed
}

// drains is the opposite.
func (o *drainOrders) drains() bool { return !o.stays() }

// leaves tells whether the node is to drain and end by an operator's order.
func (o *drainOrders) leaves() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.order == orderLeave
}
