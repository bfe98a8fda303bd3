package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const (
	maxAnswerBytes = 64 << 10
	maxStreams     = 256 // of one answer; what is beyond is not compared
	// staleAfter is the least that counts as stale: the answers of one round
	// are up to its time-out apart, and a fetch that was late is made up for.
	staleAfter = 2 * time.Second
)

// Position is how far a node has a stream.
type Position struct {
	End  time.Time     // of the newest media, by the source's clock; whole milliseconds
	Step time.Duration // of how much comes at a time, PART-TARGET; whole milliseconds
}

// Positions are those of a node's streams, by name.
type Positions map[string]Position

// ProbeAnswer is what a relay answers to a prober.
type ProbeAnswer struct {
	Name    string // of the relay, as in gossip
	Streams Positions
	Status  Status // ""; older releases do not tell
}

// An answer is a JSON object:
//
//	{"v":1,"n":"<name>","s":{"theatre":{"e":1767225600000,"p":225}},"t":"serving"}
type answerMessage struct {
	V       int                        `json:"v"`
	Name    string                     `json:"n"`
	Streams map[string]positionMessage `json:"s"`
	Status  string                     `json:"t,omitempty"`
}

type positionMessage struct {
	End  int64 `json:"e"` // unix milliseconds
	Part int64 `json:"p"` // milliseconds
}

// Encode writes the answer.
func (a ProbeAnswer) Encode() []byte {
	m := answerMessage{V: messageVersion, Name: a.Name, Status: string(a.Status), Streams: make(map[string]positionMessage, len(a.Streams))}
	for name, p := range a.Streams {
		m.Streams[name] = positionMessage{p.End.UnixMilli(), p.Step.Milliseconds()}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // text and numbers can be written
	}
	return b
}

// MaxProbeAnswer is how many bytes of an answer need to be read: one more than
// it may have.
const MaxProbeAnswer = maxAnswerBytes + 1

// DecodeProbeAnswer reads an answer.
func DecodeProbeAnswer(b []byte) (ProbeAnswer, error) {
	if len(b) > maxAnswerBytes {
		return ProbeAnswer{}, fmt.Errorf("answer of %d bytes: %w", len(b), ErrMessageTooLong)
	}
	var m answerMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return ProbeAnswer{}, fmt.Errorf("decode answer: %w", err)
	}
	switch {
	case m.V < 1:
		return ProbeAnswer{}, ErrMessageVersion
	case !memberName(m.Name):
		return ProbeAnswer{}, fmt.Errorf("decode answer: it bears no name")
	}
	a := ProbeAnswer{Name: m.Name, Status: Status(word(m.Status)), Streams: make(Positions, min(len(m.Streams), maxStreams))}
	for name, p := range m.Streams {
		if len(a.Streams) == maxStreams {
			break
		}
		end, part := min(max(p.End, 0), maxBorn), min(max(p.Part, 0), time.Minute.Milliseconds())
		a.Streams[name] = Position{time.UnixMilli(end), time.Duration(part) * time.Millisecond}
	}
	return a, nil
}

// newest returns how far each stream is, as far as can be known from what the
// relays answered and from what we have ourselves (nil: nothing).
//
// A relay that errs must not make all others look stale: of three or more, the
// second newest counts, and a stream that fewer than half of them have and we
// have not is none, but what is left of one.
func newest(answers []Positions, own Positions) Positions {
	ends := make(map[string][]Position)
	for _, answer := range answers {
		for name, p := range answer {
			ends[name] = append(ends[name], p)
		}
	}
	known := make(Positions, len(ends))
	for name, all := range ends {
		if 2*len(all) < len(answers) {
			continue
		}
		slices.SortFunc(all, func(a, b Position) int { return b.End.Compare(a.End) })
		known[name] = all[0]
		if len(all) >= 3 {
			known[name] = all[1]
		}
	}
	for name, p := range own {
		if k, ok := known[name]; !ok || p.End.After(k.End) {
			known[name] = p
		}
	}
	return known
}

// behind tells whether any stream is missing, or older than is known to be
// possible.
func (p Positions) behind(known Positions) bool {
	for name, k := range known {
		if at, ok := p[name]; !ok || k.End.Sub(at.End) > max(3*k.Step, staleAfter) {
			return true
		}
	}
	return false
}
