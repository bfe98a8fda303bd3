package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What is new goes before what was sent, the newest first, and each is sent so
// often as the pool's size asks for, unless a newer one took its place.
func TestQueueOfVerdicts(t *testing.T) {
	over := map[string]bool{}
	q := &verdictQueue{size: func() int { return 9 }, holds: func(v Verdict) bool { return !over[v.Target] }}
	for i := range 3 {
		q.add(Verdict{Prober: "x", Target: fmt.Sprint("r", i), Opinion: OpinionUp, Sequence: uint64(i)})
	}
	r0 := Verdict{Prober: "x", Target: "r0", Opinion: OpinionUp}
	one := r0.group().bytes() + r0.bytesInGroup() + 2
	next := func() string {
		var all []string
		for _, m := range q.packet(2, one) {
			verdicts, err := decodeVerdicts(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range verdicts {
				all = append(all, v.Target)
			}
		}
		return strings.Join(all, " ")
	}
	var sent []string
	for range 4 {
		sent = append(sent, next())
	}
	over["r1"] = true
	q.add(Verdict{Prober: "x", Target: "r9", Opinion: OpinionUp, Sequence: 9})
	for range 9 {
		sent = append(sent, next())
	}
	if first := []string{"r2", "r1", "r0"}; !slices.Equal(sent[:3], first) || sent[4] != "r9" {
		t.Errorf("sent: %v", sent)
	}
	count := map[string]int{}
	for _, s := range sent {
		count[s]++
	}
	if count["r0"] != repeats || count["r2"] != repeats || count["r9"] != repeats || count["r1"] != 1 || q.len() != 0 {
		t.Errorf("sent: %v, %d left", count, q.len())
	}
}

// A packet is never longer than it may be, and holds many verdicts of one prober.
func TestPacketsOfVerdicts(t *testing.T) {
	const overhead, limit = 3, 1300
	q := &verdictQueue{size: func() int { return 100 }, holds: func(Verdict) bool { return true }}
	for i := range 2 * maxVerdicts {
		q.add(Verdict{strings.Repeat("a", 31) + fmt.Sprint(i/200%7), fmt.Sprintf("%032d", i), OpinionDoubt, FailureTimeout, uint64(i)})
	}
	if q.len() != maxVerdicts {
		t.Errorf("%d are queued", q.len())
	}
	for range 1000 {
		bytes, verdicts := 0, 0
		for _, m := range q.packet(overhead, limit) {
			some, err := decodeVerdicts(m)
			if err != nil {
				t.Fatal(err)
			}
			bytes, verdicts = bytes+overhead+len(m), verdicts+len(some)
		}
		if bytes > limit || verdicts < 15 {
			t.Fatalf("%d verdicts in %d bytes", verdicts, bytes)
		}
	}
}
