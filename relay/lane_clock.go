package relay

import (
	"net/http"
	"sync/atomic"
	"time"
)

// tick is the step of a lane's clock: its deadlines are whole seconds, looked
// after by one goroutine, since a timer for each wait of each connection costs
// more than an answer's head.
const tick = time.Second

// date is a moment as the Date field has it.
type date struct {
	text  string
	field []byte // for HTTP/2
}

// laneClock counts ticks and knows the date. Reading it costs nothing.
type laneClock struct {
	ticks atomic.Int64
	date  atomic.Pointer[date]
}

// advance moves the clock on by one tick.
func (c *laneClock) advance() {
	c.ticks.Add(1)
	text := time.Now().UTC().Format(http.TimeFormat)
	c.date.Store(&date{text, appendField(nil, "Date", text)})
}

// after returns the tick by which at least the patience has passed.
func (c *laneClock) after(patience time.Duration) int64 {
	return c.ticks.Load() + int64((patience+tick-1)/tick) + 1
}
