package relay

import (
	"errors"
	"sync/atomic"
)

// ErrBudget: a stream's media would be more than may be held in memory.
var ErrBudget = errors.New("the stream's memory is used up")

// streamBytes is what the media of one stream may take in memory, all
// renditions together: a minute of a ladder of 60 Mbit/s.
const streamBytes = 512 << 20

// budget bounds the bytes of a stream's media in memory, whole or arriving.
// Over the limit, windows shed what is oldest. An eighth beyond it nothing more
// is taken: the live edge then stands still, and its viewers get 503, rather
// than that one stream ends the process with all others. That eighth keeps a
// thin rendition running while a fat one has not yet shed.
type budget struct {
	limit int64
	used  atomic.Int64
}

func newBudget() *budget { return &budget{limit: streamBytes} }

// take counts n bytes in, if there is room.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit+b.limit/8 {
		b.used.Add(-n)
		return false
	}
	return true
}

// give counts n bytes out.
func (b *budget) give(n int64) { b.used.Add(-n) }

// over tells whether something must go.
func (b *budget) over() bool { return b.used.Load() > b.limit }
