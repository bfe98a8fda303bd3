package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Goals under attack.
const (
	attackLater  = 20  // ms that the p99 may be later than without
	attackCores  = 0.9 // of the relay's one core; the rest is the viewers'
	attackMemory = 256 // MiB
)

// figures are a line for each attack, and what holds for all together. broken
// is what is wrong with the pool at the end.
func (b *besieged) figures(broken error) []figure {
	var figures []figure
	var stalls, wrong int64
	var troubles strings.Builder
	for _, w := range append(slices.Clone(b.sieges), b.after) {
		figures = append(figures, w.figure(b.before))
		stalls += int64(w.viewers.Stalls)
		wrong += w.attack.wrong(w.kind.answers)
		if w.viewers.Stalls+w.viewers.Skipped+len(w.viewers.Faults) > 0 {
			fmt.Fprintf(&troubles, "; %s: %s", w.title(), w.viewers.troubles())
		}
	}
	overH2 := slices.DeleteFunc(slices.Clone(b.sieges), func(w siege) bool { return w.kind.over != h2 })
	busiest := slices.MaxFunc(overH2, func(a, b siege) int { return cmp.Compare(a.cores, b.cores) })
	largest := slices.MaxFunc(b.sieges, func(a, b siege) int { return cmp.Compare(a.grown, b.grown) })
	end := figure{name: "relays that ended or are unwell", ours: sample{0}, goal: 0, note: "the same process answers /healthz with 200"}
	if broken != nil {
		end.ours, end.note = sample{1}, broken.Error()
	}
	return append(figures,
		figure{name: "stalls under attack", ours: sample{float64(stalls)}, goal: 0, note: fmt.Sprintf("%d viewers%s", b.before.viewers.Viewers, troubles.String())},
		figure{
			name: "cores that the relay uses under HTTP/2 attack", ours: sample{busiest.cores}, goal: attackCores,
			note: fmt.Sprintf("the most, %s; without %s", busiest.title(), number(b.before.cores)),
		},
		figure{name: "growth of the relay's memory under attack", ours: sample{mebibytes(largest.grown)}, unit: "MiB", goal: attackMemory, note: "the most, " + largest.title()},
		figure{name: "answers that an attack should not get", ours: sample{float64(wrong)}, goal: 0},
		end,
	)
}

// title is what the viewers went through.
func (w siege) title() string {
	if w.kind.name == "" {
		return "after all"
	}
	return w.kind.title
}

// figure is the line of one attack.
func (w siege) figure(without siege) figure {
	f := figure{
		name: "part start to receipt p99, " + w.title(), ours: sample{w.viewers.Receipt.P99}, unit: "ms",
		goal: without.viewers.Receipt.P99 + attackLater,
		note: fmt.Sprintf("without %s; asked to received %s, without %s; %d stalls; %s cores",
			number(without.viewers.Receipt.P99), number(w.viewers.Answer.P99), number(without.viewers.Answer.P99), w.viewers.Stalls, number(w.cores)),
	}
	if w.kind.name != "" {
		f.note += fmt.Sprintf("; %+.0f MiB, sockets %+.0f; %s", mebibytes(w.grown), mebibytes(w.held), w.attack)
	}
	return f
}

// String is how the attack itself went.
func (a attacked) String() string {
	text := fmt.Sprintf("%d connections, %d ended by the relay", a.Opened, a.Ended)
	if a.GoAways > 0 {
		text += fmt.Sprintf(" (%d GOAWAY)", a.GoAways)
	}
	if a.Failed > 0 {
		text += fmt.Sprintf(", %d not opened", a.Failed)
	}
	text += fmt.Sprintf(", %d sent", a.Sent)
	for _, status := range slices.Sorted(maps.Keys(a.Answers)) {
		text += fmt.Sprintf(", %d × %d", a.Answers[status], status)
	}
	return text
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
