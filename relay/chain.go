package relay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Headers of what the nodes of a tree say to each other, beside the protocol.
const (
	// nodeHeader names the node that asks: its id, with ";look" behind it when
	// it only looks and does not mean to be fed.
	nodeHeader = "Surgecast-Node"
	// chainHeader tells on each live list for a node which way it came: the ids
	// of all nodes from the origin on, the last being the one that answers.
	chainHeader = "Surgecast-Chain"
	// referralHeader names host:port of nodes that have room, on a refusal.
	referralHeader = "Surgecast-Referral"
)

// MaxTier is how many hops there may be from the origin: one more would add its
// delay to what a viewer waits for, and the failures of one more node.
const MaxTier = 3

// Chain is the way that a list came: node ids, from the origin on. Its length
// is the tier of who receives it; it is empty where the upstream tells none, as
// an origin that is not ours.
type Chain []string

// Why a list is not taken from a parent, although it may be right.
var (
	errChain = errors.New("bad chain")
	errLoop  = errors.New("the parent has its lists through this node: a loop")
	errDeep  = fmt.Errorf("the parent is too far from the origin: a relay may be %d hops away", MaxTier)
)

// maxNodeBytes bounds a node's id.
const maxNodeBytes = 64

// validNode tells whether an id is one that a header can carry.
func validNode(id string) bool {
	return id != "" && len(id) <= maxNodeBytes && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// parseChain reads the header's value; "" is the empty chain. A longer one than
// anybody could take (MaxTier, and one that is too deep) is not a chain.
func parseChain(value string) (Chain, error) {
	if value == "" {
		return nil, nil
	}
	if len(value) > (MaxTier+1)*(maxNodeBytes+len(", ")) {
		return nil, fmt.Errorf("%w: %d bytes", errChain, len(value))
	}
	chain := Chain(strings.Split(value, ", "))
	if len(chain) > MaxTier+1 {
		return nil, fmt.Errorf("%w: %d nodes", errChain, len(chain))
	}
	for i, id := range chain {
		if !validNode(id) {
			return nil, fmt.Errorf("%w: %q is no node", errChain, clip(id))
		}
		if slices.Contains(chain[:i], id) {
			return nil, fmt.Errorf("%w: %s stands in it twice", errChain, id)
		}
	}
	return chain, nil
}

// String is the header's value.
func (c Chain) String() string { return strings.Join(c, ", ") }

// Parent is the id of the node that sent it; "" when that told none.
func (c Chain) Parent() string {
	if len(c) == 0 {
		return ""
	}
	return c[len(c)-1]
}

// admits tells why a node must not take what came this way.
func (c Chain) admits(self string) error {
	switch {
	case slices.Contains(c, self):
		return fmt.Errorf("%w (%v)", errLoop, c)
	case len(c) > MaxTier:
		return fmt.Errorf("%w (%v)", errDeep, c)
	}
	return nil
}

// with is the chain as this node hands it on.
func (c Chain) with(self string) Chain { return append(slices.Clip(c), self) }

const lookMark = ";look"

// parseNode reads who asks, and whether it only looks.
func parseNode(value string) (id string, look, ok bool) {
	id, look = strings.CutSuffix(value, lookMark)
	return id, look, validNode(id)
}

// maxReferrals bounds what a refusal names: enough for one to be right.
const maxReferrals = 3

// parseReferral reads what a refusal names. What can't be read names nothing:
// it is advice.
func parseReferral(value string) []string {
	if value == "" || len(value) > maxReferrals*(maxAuthorityBytes+len(", ")) {
		return nil
	}
	all := strings.Split(value, ", ")
	if len(all) > maxReferrals || slices.ContainsFunc(all, func(a string) bool { return !validAuthority(a) }) {
		return nil
	}
	return all
}

// maxAuthorityBytes is what the gossip allows for host:port.
const maxAuthorityBytes = 128

func validAuthority(a string) bool {
	return len(a) <= maxAuthorityBytes && strings.LastIndexByte(a, ':') > 0 &&
		strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == ""
}
