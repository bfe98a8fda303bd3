package cluster

import (
	"encoding/json"
	"fmt"
)

// A verdict travels as one JSON object with short keys:
//
//	{"v":1,"k":"verdict","p":"<prober>","t":"<relay>","o":"down","f":"timeout","n":12}
//
// and, when two nodes exchange all that they know, in an array under "verdicts".
// Objects of another kind, opinions that are not known and keys that are not
// known are skipped, so releases can add to it.
const (
	verdictKind = "verdict"
	// maxVerdictBytes fits into one packet of gossip beside others.
	maxVerdictBytes = 512
	// maxKnownBytes bounds what is read of another node's knowledge: of
	// maxVerdicts at their longest.
	maxKnownBytes = 1 << 20
	maxNameBytes  = 64
	// maxSequence is where float64 ends to be exact.
	maxSequence = 1 << 53
)

type verdictMessage struct {
	V        int     `json:"v"`
	Kind     string  `json:"k"`
	Prober   string  `json:"p"`
	Target   string  `json:"t"`
	Opinion  Opinion `json:"o"`
	Failure  Failure `json:"f,omitempty"`
	Sequence uint64  `json:"n"`
}

// knownMessage is all that a node knows beside the members' own states.
type knownMessage struct {
	V        int               `json:"v"`
	Verdicts []json.RawMessage `json:"verdicts"`
}

func encodeVerdict(v Verdict) []byte {
	b, err := json.Marshal(verdictMessage{messageVersion, verdictKind, v.Prober, v.Target, v.Opinion, v.Failure, v.Sequence})
	if err != nil {
		panic(err) // text and a number can be written
	}
	return b
}

// decodeVerdict reads a verdict that another node sent.
func decodeVerdict(b []byte) (Verdict, error) {
	if len(b) > maxVerdictBytes {
		return Verdict{}, fmt.Errorf("verdict of %d bytes: %w", len(b), ErrMessageTooLong)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return Verdict{}, fmt.Errorf("decode verdict: %w", err)
	}
	v := Verdict{
		Prober:   text(fields["p"]),
		Target:   text(fields["t"]),
		Opinion:  Opinion(text(fields["o"])),
		Failure:  Failure(text(fields["f"])),
		Sequence: uint64(min(number(fields["n"]), maxSequence)),
	}
	switch {
	case number(fields["v"]) < 1:
		return Verdict{}, ErrMessageVersion
	case text(fields["k"]) != verdictKind:
		return Verdict{}, fmt.Errorf("decode verdict: it is a message of another kind")
	case !memberName(v.Prober), !memberName(v.Target):
		return Verdict{}, fmt.Errorf("decode verdict: a name is missing, or no name")
	}
	return v.known()
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
		return Verdict{}, fmt.Errorf("decode verdict: %.16q is no opinion", v.Opinion)
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
	known := knownMessage{V: messageVersion, Verdicts: make([]json.RawMessage, len(verdicts))}
	for i, v := range verdicts {
		known.Verdicts[i] = encodeVerdict(v)
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
	for _, one := range known.Verdicts[:min(len(known.Verdicts), maxVerdicts)] {
		if v, err := decodeVerdict(one); err == nil {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}
