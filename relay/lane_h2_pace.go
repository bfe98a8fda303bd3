package relay

// h2Reader reads from the connection for the buffer before it. What is to be
// written leaves before it waits, so many requests that came together cost one
// write.
type h2Reader struct{ *h2Conn }

func (r h2Reader) Read(b []byte) (int, error) {
	c := r.h2Conn
	c.mu.Lock()
	c.readBy = 0
	// What time our writing took is not the viewer's fault.
	if c.flush() || c.wholeBy == 0 {
		c.wholeBy = c.lane.clock.after(headPatience)
	}
	if c.parked = c.atRest; !c.parked {
		c.readBy = c.wholeBy
	}
	err := c.ended
	c.limit()
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.conn.Read(b)
	if c.atRest {
		c.atRest = false
		c.mu.Lock()
		c.parked = false
		c.wholeBy = c.lane.clock.after(headPatience)
		c.readBy = c.wholeBy
		c.limit()
		c.mu.Unlock()
	}
	return n, err
}

// limit says until when the connection may go on as it does, and whether it may
// be closed to make room. It needs c.mu.
func (c *h2Conn) limit() {
	resting := c.parked && len(c.streams) == 0 && !c.writing
	if resting && !c.resting {
		c.restBy = c.lane.clock.after(restPatience)
	}
	if resting != c.resting {
		c.resting = resting
		c.tracker.SetIdle(resting)
	}
	by := c.readBy
	if resting {
		by = c.restBy
	}
	if c.due != 0 {
		if taken := c.due/minRate + 1; by == 0 || taken < by {
			by = taken
		}
	}
	c.base.deadline.Store(by)
}

// owe sets until when the viewer has to take what is owed to it, with n bytes
// more: a reader that is slower than minRate holds memory for nothing. What it
// took quickly before does not help it later. It needs c.mu.
func (c *h2Conn) owe(n int) {
	if c.due == 0 {
		c.due = c.dueIn(0)
	}
	c.due += int64(n)
}

// dueIn is when that many bytes have to be taken, if they are owed from now on.
func (c *h2Conn) dueIn(n int) int64 {
	return c.lane.clock.ticks.Load()*minRate + int64(writePatience/tick)*minRate + int64(n)
}
