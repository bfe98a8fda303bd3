package relay

import "golang.org/x/net/http2"

// h2Budget bounds what a connection may ask for that costs work and brings no
// media: whoever oversteps it gets GOAWAY with ENHANCE_YOUR_CALM. It fills up
// each second, and with each body that goes out, since a viewer that gets much
// widens many windows.
type h2Budget struct {
	clock *laneClock
	left  int
	at    int64 // the tick of the last filling
}

// What things cost. A browser that leaves a page resets its hundred held
// requests at once; one that flips through renditions a few.
const (
	h2CostFrame    = 1  // a frame that asks for little: PING, WINDOW_UPDATE, PRIORITY, an extension's
	h2CostBlock    = 10 // each frame after the first of a header block
	h2CostSettings = 10
	h2CostReset    = 10
	h2CostRefused  = 10 // a stream over the limit
	h2CostFault    = 20 // a stream that breaks the rules

	h2BudgetMost = 3000 // at the beginning, and the most that is saved up
	h2BudgetTick = 1000 // for a second
	h2FreeBytes  = 512  // of a body that is worth a frame
)

func newH2Budget(clock *laneClock) h2Budget {
	return h2Budget{clock: clock, left: h2BudgetMost, at: clock.ticks.Load()}
}

// spend takes a cost, and returns an error when the budget is used up.
func (b *h2Budget) spend(cost int) error {
	if b.left -= cost; b.left >= 0 {
		return nil
	}
	now := b.clock.ticks.Load()
	b.left = min(h2BudgetMost, b.left+int(min(now-b.at, 10))*h2BudgetTick)
	b.at = now
	if b.left < 0 {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

// earn adds what bytes of a body are worth.
func (b *h2Budget) earn(bytes int) { b.left = min(h2BudgetMost, b.left+bytes/h2FreeBytes) }
