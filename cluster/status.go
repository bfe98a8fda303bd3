package cluster

import "slices"

// Status is how far a node is in its life.
type Status string

// The states of a node's life.
const (
	StatusJoining  Status = "joining"  // sees no other node yet
	StatusWarming  Status = "warming"  // fetches the live window, and proves that it serves it
	StatusServing  Status = "serving"  // takes viewers
	StatusFull     Status = "full"     // serves those it has, takes no more
	StatusDraining Status = "draining" // serves those it has, and will leave
	StatusLeft     Status = "left"
)

// Statuses are all of them, in the order of a life.
var Statuses = []Status{StatusJoining, StatusWarming, StatusServing, StatusFull, StatusDraining, StatusLeft}

// moves are the legal changes. A node that finds its own data path broken goes
// back to warming; one that was told not to drain after all does too, and
// proves itself anew.
var moves = map[Status][]Status{
	StatusJoining:  {StatusWarming, StatusServing, StatusDraining, StatusLeft},
	StatusWarming:  {StatusJoining, StatusServing, StatusDraining, StatusLeft},
	StatusServing:  {StatusWarming, StatusFull, StatusDraining, StatusLeft},
	StatusFull:     {StatusWarming, StatusServing, StatusDraining, StatusLeft},
	StatusDraining: {StatusWarming, StatusLeft},
}

// MayBecome tells whether a change is legal. To stay is none.
func (s Status) MayBecome(next Status) bool { return slices.Contains(moves[s], next) }

// Delivers tells whether a node in this state serves viewers that it has.
func (s Status) Delivers() bool {
	return s == StatusServing || s == StatusFull || s == StatusDraining
}
