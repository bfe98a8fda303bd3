package cluster

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func relay(capacity int64, load int) Member {
	return Member{State: State{Role: RoleRelay, Status: StatusServing, Capacity: capacity, Load: load}}
}

func TestWeights(t *testing.T) {
	tests := []struct {
		name    string
		members []Member
		want    []float64
	}{
		{"none", nil, []float64{}},
		{"nothing is known", []Member{relay(0, 0), relay(0, 50)}, []float64{1, 0.5}},
		{"headroom", []Member{relay(1000, 0), relay(1000, 75)}, []float64{1000, 250}},
		{"full ones keep their proportion", []Member{relay(1000, 100), relay(500, 100)}, []float64{10, 5}},
		{"unknown is the others' median", []Member{relay(100, 0), relay(0, 0), relay(300, 0), relay(200, 0)}, []float64{100, 200, 300, 200}},
		{"one is boundless", []Member{relay(math.MaxInt64, 0), relay(100, 0), relay(100, 0)}, []float64{1000, 100, 100}},
		{"one of two is boundless", []Member{relay(math.MaxInt64, 0), relay(100, 0)}, []float64{1000, 100}},
	}
	for _, tt := range tests {
		got := weights(tt.members)
		for i := range got {
			got[i] = math.Round(got[i]*1e6) / 1e6
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPickCount(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	tests := []struct {
		weights []float64
		want    int
	}{
		{nil, 0},
		{[]float64{5}, 1},
		{[]float64{1, 1}, 2},
		{[]float64{10, 1, 1}, 1},
		{[]float64{2, 1, 1}, 2},
		{[]float64{1, 1, 1, 1, 1, 1}, 4},
	}
	for _, tt := range tests {
		for range 100 {
			got := pick(rng, tt.weights, picks(tt.weights, usualPick))
			if len(got) != tt.want {
				t.Fatalf("%v: picked %v, want %d", tt.weights, got, tt.want)
			}
			slices.Sort(got)
			if len(slices.Compact(got)) != tt.want {
				t.Fatalf("%v: one was picked twice", tt.weights)
			}
		}
	}
}

// Of the answers' first addresses, and of all addresses, each node's share is
// that of its weight.
func TestPickShares(t *testing.T) {
	const draws = 200_000
	for _, w := range [][]float64{
		{1000, 1000, 1000, 1000, 1000, 100},
		{10, 1, 1},
		{3, 2, 1},
		{1, 1, 1, 1, 1, 1, 1, 1, 1},
	} {
		rng := rand.New(rand.NewPCG(2, 3))
		first, all := make([]float64, len(w)), make([]float64, len(w))
		var sum, records float64
		for _, x := range w {
			sum += x
		}
		for range draws {
			picked := pick(rng, w, picks(w, usualPick))
			first[picked[0]]++
			for _, i := range picked {
				all[i]++
				records++
			}
		}
		for i, x := range w {
			want := x / sum
			sigma := math.Sqrt(want * (1 - want) / draws)
			if got := first[i] / draws; math.Abs(got-want) > 5*sigma {
				t.Errorf("%v: node %d is first in %.4f, want %.4f", w, i, got, want)
			}
			if got := all[i] / records; math.Abs(got-want) > 5*sigma {
				t.Errorf("%v: node %d has %.4f of the records, want %.4f", w, i, got, want)
			}
		}
	}
}

func TestPickRepeatsBySeed(t *testing.T) {
	w := []float64{1, 2, 3, 4, 5}
	a, b := rand.New(rand.NewPCG(9, 9)), rand.New(rand.NewPCG(9, 9))
	for range 50 {
		if !slices.Equal(pick(a, w, 2), pick(b, w, 2)) {
			t.Fatal("the same seed picked otherwise")
		}
	}
}

func BenchmarkPickOf100(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := make([]float64, 100)
	for i := range w {
		w[i] = float64(1 + i%3)
	}
	for b.Loop() {
		pick(rng, w, picks(w, usualPick))
	}
}
