package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Verdicts travel as a JSON object with short keys, those of one prober that say
// the same of several relays together, with their sequences:
//
//	{"v":1,"k":"verdicts","p":"<prober>","o":"down","f":"timeout","l":{"<relay>":12,"<relay>":13}}
//
// and, when two nodes exchange all that they know, in an array under "verdicts".
// Objects of another kind, opinions that are not known and keys that are not
// known are skipped, so releases can add to it.
const (
	verdictKind = "verdicts"
	// maxKnownBytes bounds what is read of another node's knowledge: of
	// maxVerdicts at their longest.
	maxKnownBytes = 2 << 20
	maxNameBytes  = 64
	// maxSequence is where float64 ends to be exact.
	maxSequence = 1 << 53
)

type verdictMessage struct {
	V         int               `json:"v"`
	Kind      string            `json:"k"`
	Prober    string            `json:"p"`
	Opinion   Opinion           `json:"o"`
	Failure   Failure           `json:"f,omitempty"`
	Sequences map[string]uint64 `json:"l"` // by target
}

// knownMessage is all that a node knows beside the members' own states.
type knownMessage struct {
	V        int               `json:"v"`
	Verdicts []json.RawMessage `json:"verdicts"`
}

// verdictGroup is verdicts that one message can hold.
type verdictGroup struct {
	prober  string
	opinion Opinion
	failure Failure
}

func (v Verdict) group() verdictGroup { return verdictGroup{v.Prober, v.Opinion, v.Failure} }

// bytes is how long a message of the group is that has no target.
func (g verdictGroup) bytes() int {
	return len(`{"v":1,"k":"verdicts","p":"","o":"","f":"","l":{}}`) + len(g.prober) + len(g.opinion) + len(g.failure)
}

// bytesInGroup is what one target more adds to it.
func (v Verdict) bytesInGroup() int {
	var digits [20]byte
	return len(`"":,`) + len(v.Target) + len(strconv.AppendUint(digits[:0], v.Sequence, 10))
}

// encodeVerdicts writes verdicts as few messages, in the order of the first of
// each.
func encodeVerdicts(verdicts ...Verdict) [][]byte {
	var order []verdictGroup
	groups := make(map[verdictGroup]map[string]uint64)
	for _, v := range verdicts {
		g := v.group()
		if groups[g] == nil {
			groups[g] = make(map[string]uint64)
			order = append(order, g)
		}
		groups[g][v.Target] = v.Sequence
	}
	messages := make([][]byte, len(order))
	for i, g := range order {
		b, err := json.Marshal(verdictMessage{messageVersion, verdictKind, g.prober, g.opinion, g.failure, groups[g]})
		if err != nil {
			panic(err) // text and numbers can be written
		}
		messages[i] = b
	}
	return messages
}

// decodeVerdicts reads verdicts that another node sent, by their targets. Targets
// that can't be read are skipped, and what is beyond maxVerdicts.
func decodeVerdicts(b []byte) ([]Verdict, error) {
	if len(b) > maxKnownBytes {
		return nil, fmt.Errorf("verdicts of %d bytes: %w", len(b), ErrMessageTooLong)
	}
	var fields, list map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, fmt.Errorf("decode verdicts: %w", err)
	}
	v, err := Verdict{
		Prober:  text(fields["p"]),
		Opinion: Opinion(text(fields["o"])),
		Failure: Failure(text(fields["f"])),
	}.known()
	switch {
	case number(fields["v"]) < 1:
		return nil, ErrMessageVersion
	case text(fields["k"]) != verdictKind:
		return nil, fmt.Errorf("decode verdicts: it is a message of another kind")
	case !memberName(v.Prober):
		return nil, fmt.Errorf("decode verdicts: the prober's name is missing, or no name")
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(fields["l"], &list); err != nil {
		return nil, fmt.Errorf("decode verdicts: %w", err)
	}
	verdicts := make([]Verdict, 0, min(len(list), maxVerdicts))
	for _, target := range slices.Sorted(maps.Keys(list)) {
		if len(verdicts) == maxVerdicts {
			break
		}
		if v.Target, v.Sequence = target, uint64(min(number(list[target]), maxSequence)); memberName(target) {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}

// known reduces what this version does not know: a failure becomes a wrong
// answer. An opinion can't be guessed.
func (v Verdict) known() (Verdict, error) {
	switch v.Opinion {
	case OpinionUp, OpinionNone:
		v.Failure = ""
		return v, nil
	case OpinionDown, OpinionDoubt:
	default:
		return v, fmt.Errorf("decode verdicts: %.16q is no opinion", v.Opinion)
	}
	switch v.Failure {
	case FailureRefused, FailureTimeout, FailureStale:
	default:
		v.Failure = FailureWrong
	}
	return v, nil
}

// memberName accepts what newName makes, and what it may make later.
func memberName(s string) bool {
	for _, c := range []byte(s) {
		if !hostByte(c) {
			return false
		}
	}
	return s != "" && len(s) <= maxNameBytes
}

// encodeKnown writes the verdicts that two nodes exchange.
func encodeKnown(verdicts []Verdict) []byte {
	known := knownMessage{V: messageVersion, Verdicts: []json.RawMessage{}}
	for _, message := range encodeVerdicts(verdicts...) {
		known.Verdicts = append(known.Verdicts, message)
	}
	b, err := json.Marshal(known)
	if err != nil {
		panic(err) // as above
	}
	return b
}

// decodeKnown reads the verdicts that another node knows. Those that can't be
// read are skipped, and what is beyond maxVerdicts.
func decodeKnown(b []byte) ([]Verdict, error) {
	if len(b) > maxKnownBytes {
		return nil, fmt.Errorf("knowledge of %d bytes: %w", len(b), ErrMessageTooLong)
	}
	var known knownMessage
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("decode knowledge: %w", err)
	}
	if known.V < 1 {
		return nil, ErrMessageVersion
	}
	var verdicts []Verdict
	for _, message := range known.Verdicts {
		if some, err := decodeVerdicts(message); err == nil {
			verdicts = append(verdicts, some[:min(len(some), maxVerdicts-len(verdicts))]...)
		}
	}
	return verdicts, nil
}
