package relay

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/relay/hlscheck"
)

// lowLatencyAlone is what the checker misses in a plain list.
var lowLatencyAlone = []string{
	"no EXT-X-SERVER-CONTROL", "CAN-BLOCK-RELOAD is not YES",
	"HOLD-BACK under 3 × TARGETDURATION", "CAN-SKIP-UNTIL under 6 × TARGETDURATION",
}

// Each version of a long list keeps the protocol's rules, alone and after the
// one before it, over a restart too.
func TestTheLongListKeepsTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Minute, lookBytes, nil)
		previous := ""
		check := func(segments int) {
			for range segments {
				o.segments(1)
				list := o.list()
				for _, broken := range hlscheck.Check(previous, list) {
					if !slices.Contains(lowLatencyAlone, broken) {
						t.Errorf("%s\n%s", broken, list)
					}
				}
				previous = list
			}
		}
		o.segments(6)
		check(80)
		o = reborn(t, o, 1100)
		check(80)
	})
}
