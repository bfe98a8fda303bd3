package cluster

import (
	"fmt"
	"net/netip"
	"strings"
)

// reasons are what errors say of which an operator can act, and how. They are
// known by their texts: memberlist keeps no more of most of them.
var reasons = []struct{ says, means string }{
	{"connection refused", "it refuses: is the node up, and is this its gossip port?"},
	{"could decrypt the message", "another secret: is the pool's secret the same file on both, and are both clocks right?"},
	{"label", "another pool: is its name (pool:) the same on both?"},
	{"EOF", "it hangs up: are the pool's secret and its name (pool:) the same on both, and both clocks right?"},
	{"reset by peer", "it hangs up: are the pool's secret and its name (pool:) the same on both, and both clocks right?"},
	{"timeout", "no answer: is it up, and is its gossip port open, by TCP and UDP?"},
	{"deadline exceeded", "no answer: is it up, and is its gossip port open, by TCP and UDP?"},
	{"unreachable", "no way there: is the address right, and has this machine a route?"},
	{"no route", "no way there: is the address right, and has this machine a route?"},
}

// why says why a node did not let us join.
func (n *Node) why(target netip.AddrPort, err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ") // some are of several lines
	if ours := n.bind.Addr().Is4(); target.Addr().Is4() != ours && !n.second.IsValid() && strings.Contains(text, "unreachable") {
		family, others := "IPv4", "IPv6"
		if ours {
			family, others = others, family
		}
		return fmt.Sprintf("no way there by %s: this node has %s alone; give it an address of %s, or name a seed by %s", family, others, family, others)
	}
	for _, r := range reasons {
		if strings.Contains(text, r.says) {
			return r.means
		}
	}
	return text
}

// maxWhys bounds the reasons in one line of the log.
const maxWhys = 4

// whys tells of failed joins, the same reason once.
func whys(failed []failedJoin) string {
	var all []string
	at := make(map[string]int)
	for _, f := range failed {
		if i, known := at[f.why]; known {
			all[i] = fmt.Sprintf("%s, %s", f.target, all[i])
			continue
		}
		if len(all) == maxWhys {
			continue
		}
		at[f.why] = len(all)
		all = append(all, fmt.Sprintf("%s: %s", f.target, f.why))
	}
	return strings.Join(all, "; ")
}

// failedJoin is a try that failed.
type failedJoin struct {
	target netip.AddrPort
	why    string
}
