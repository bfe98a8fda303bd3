package relay

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestChains(t *testing.T) {
	for value, want := range map[string]Chain{
		"":                      nil,
		"origin":                {"origin"},
		"0f-1, b, c, d":         {"0f-1", "b", "c", "d"},
		"a, b, c, d, e":         nil,
		"a,b":                   nil,
		"a, ":                   nil,
		" a":                    nil,
		"a, b, a":               nil,
		"A":                     nil,
		"a\n":                   nil,
		"a;look":                nil,
		", ":                    nil,
		"ä":                     nil,
		strings.Repeat("a", 64): {strings.Repeat("a", 64)},
		strings.Repeat("a", 65): nil,
	} {
		got, err := parseChain(value)
		if (err == nil) != (want != nil || value == "") || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", value, got, err)
		}
		if err != nil && !errors.Is(err, errChain) {
			t.Errorf("%q: %v is no errChain", value, err)
		}
	}
}

// A child is one hop farther than its parent, and at most three from the origin.
func TestWhoTakesAChain(t *testing.T) {
	chain := Chain{"origin"}
	for tier, self := range []string{"", "a", "b", "c"} {
		if tier == 0 {
			continue
		}
		if err := chain.admits(self); err != nil || len(chain) != tier {
			t.Errorf("tier %d: %v", len(chain), err)
		}
		if err := chain.admits(chain[0]); !errors.Is(err, errLoop) {
			t.Errorf("its first: %v, want a loop", err)
		}
		chain = chain.with(self)
		if err := chain.admits(self); !errors.Is(err, errLoop) {
			t.Errorf("its last: %v, want a loop", err)
		}
	}
	if err := chain.admits("d"); !errors.Is(err, errDeep) {
		t.Errorf("four hops: %v", err)
	}
	if err := Chain(nil).admits("a"); err != nil {
		t.Errorf("an upstream without a chain: %v", err)
	}
}

// Two children of one parent must not share what lies behind its chain.
func TestAChainIsNotShared(t *testing.T) {
	chain := append(make(Chain, 0, 4), "origin")
	if a, b := chain.with("a"), chain.with("b"); a[1] != "a" || b[1] != "b" {
		t.Error(a, b)
	}
}

func FuzzChain(f *testing.F) {
	for _, seed := range []string{"", "origin", "a, b, c, d", "a,b", "a, a", "a;look", "10.0.0.1:8080, [::1]:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if chain, err := parseChain(value); err == nil && chain.String() != value {
			t.Errorf("%q is written as %q", value, chain)
		}
		if id, look, ok := parseNode(value); ok {
			if look {
				id += lookMark
			}
			if id != value {
				t.Errorf("%q is written as %q", value, id)
			}
		}
		if all := parseReferral(value); len(all) > maxReferrals || len(all) > 0 && strings.Join(all, ", ") != value {
			t.Errorf("%q refers to %q", value, all)
		}
	})
}
