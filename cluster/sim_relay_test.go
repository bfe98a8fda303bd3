package cluster

import (
	"slices"
	"time"
)

// The stages of a relay that is to be listed, as cmd/surgecast/relay.go has them.
const (
	simJoining = iota
	simFetching
	simUnseen
	simListed
)

// become sets the status, as cmd's setStatus does.
func (n *simNode) become(status Status) {
	state := n.node.self().State
	if state.Status == status {
		return
	}
	if !state.Status.MayBecome(status) {
		n.sim.fail("%s: %s may not become %s", n, state.Status, status)
	}
	state.Status = status
	n.node.SetState(state)
	n.sim.log("%s is %s", n, status)
}

// carry sets the load.
func (n *simNode) carry(load int) {
	state := n.node.self().State
	state.Load = load
	n.node.SetState(state)
	switch status := n.status(); {
	case status == StatusServing && load >= 85:
		n.become(StatusFull)
	case status == StatusFull && load < 85:
		n.become(StatusServing)
	}
}

// rise takes a relay from joining to serving, as relayNode.rise does.
func (n *simNode) rise() {
	if n.role != RoleRelay || n.drains {
		return
	}
	switch {
	case n.stage == simJoining && len(n.node.Members()) > 1:
		n.stage = simFetching
		n.become(StatusWarming)
		n.fetch()
	case n.stage == simUnseen && n.node.verdicts.Proved(n.node.Name()):
		n.stage = simListed
		n.become(StatusServing)
	}
}

// fetch gets the live window from any node that has it.
func (n *simNode) fetch() {
	n.after(drawTime(n.sim.wire, 100*time.Millisecond, 800*time.Millisecond), func() {
		if n.stage != simFetching {
			return
		}
		has := func(o *simNode) bool {
			return o != n && !o.hung && o.lag == 0 && len(o.positions()) > 0 && n.reaches(o)
		}
		if !slices.ContainsFunc(n.sim.alive(), has) {
			n.fetch()
			return
		}
		n.stage = simUnseen
		n.rise()
	})
}

// watch is relayNode.watchSelf.
func (n *simNode) watch() {
	n.after(probeTick, n.watch)
	if n.stage == simListed && !n.drains && n.node.verdicts.Failure(n.node.Name()) == FailureStale {
		n.stage = simUnseen
		n.become(StatusWarming)
		n.rise()
	}
}

// drain makes it leave viewers to others.
func (n *simNode) drain() {
	n.drains, n.stage = true, simJoining
	n.become(StatusDraining)
}

func (n *simNode) undrain() {
	n.drains, n.stage = false, simFetching
	n.become(StatusWarming)
	n.fetch()
}
