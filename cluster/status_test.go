package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestMovesAreAsWritten holds the whole table against a picture of it.
func TestMovesAreAsWritten(t *testing.T) {
	var got strings.Builder
	for _, from := range Statuses {
		fmt.Fprintf(&got, "%s:", from)
		for _, to := range Statuses {
			if from.MayBecome(to) {
				fmt.Fprintf(&got, " %s", to)
			}
		}
		got.WriteString("\n")
	}
	want := `joining: warming serving draining left
warming: joining serving draining left
serving: warming full draining left
full: warming serving draining left
draining: warming left
left:
`
	if got.String() != want {
		t.Errorf("moves are\n%s", got.String())
	}
	for from, tos := range moves {
		if !slices.Contains(Statuses, from) || slices.Contains(tos, from) {
			t.Errorf("%s: %v", from, tos)
		}
	}
}
