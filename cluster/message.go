package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// A node's metadata is one JSON object with short keys:
//
//	{"v":1,"b":1767225600000,"r":"relay","s":"serving","m":"10.0.0.7:8080","p":"192.0.2.7:8080",
//	 "a":"2001:db8::7","l":40,"c":100000000,"t":1,"k":4,"f":true,"w":"1.2"}
//
// Keys that are not known are skipped and keys that are missing are zero, so
// releases can add to it; v grows when they do.
const (
	messageVersion = 1
	// maxMessage is memberlist's limit, beyond which it panics.
	maxMessage = 512
	// maxBorn is far from now and far from where float64 ends to be exact.
	maxBorn = 1 << 52
)

var (
	// ErrMessageTooLong is the error of a state that doesn't fit.
	ErrMessageTooLong = errors.New("message is too long")
	// ErrMessageVersion is the error of a message without a version of ours.
	ErrMessageVersion = errors.New("message has no known version")
)

type message struct {
	V        int    `json:"v"`
	Born     int64  `json:"b,omitempty"` // start of the process, unix milliseconds
	Role     Role   `json:"r,omitempty"`
	Status   Status `json:"s,omitempty"`
	Media    string `json:"m,omitempty"`
	Public   string `json:"p,omitempty"`
	Second   string `json:"a,omitempty"`
	Load     int    `json:"l,omitempty"`
	Capacity int64  `json:"c,omitempty"`
	Tier     int    `json:"t,omitempty"`
	Slots    int    `json:"k,omitempty"`
	Taken    bool   `json:"f,omitempty"`
	Version  string `json:"w,omitempty"`
}

// encodeMessage writes a state, clamped, in at most limit bytes.
func encodeMessage(s State, born int64, limit int) ([]byte, error) {
	s = s.clamped()
	second := ""
	if s.Second.IsValid() {
		second = s.Second.String()
	}
	b, err := json.Marshal(message{
		V: messageVersion, Born: born, Role: s.Role, Status: s.Status, Media: s.Media, Public: s.Public, Second: second,
		Load: s.Load, Capacity: s.Capacity, Tier: s.Tier, Slots: s.Slots, Taken: s.Taken, Version: s.Version,
	})
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	if len(b) > min(limit, maxMessage) {
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrMessageTooLong)
	}
	return b, nil
}

// decodeMessage reads another node's state. Known fields of newer versions are
// read; a known field of a strange type or value is taken as zero or clamped.
// The error says that the whole can't be read.
func decodeMessage(b []byte) (s State, born int64, err error) {
	if len(b) > maxMessage {
		return State{}, 0, fmt.Errorf("%d bytes: %w", len(b), ErrMessageTooLong)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return State{}, 0, fmt.Errorf("decode state: %w", err)
	}
	if number(fields["v"]) < 1 {
		return State{}, 0, ErrMessageVersion
	}
	s = State{
		Role:     Role(text(fields["r"])),
		Status:   Status(text(fields["s"])),
		Media:    text(fields["m"]),
		Public:   text(fields["p"]),
		Second:   addressOfText(fields["a"]),
		Load:     int(min(number(fields["l"]), 100)),
		Capacity: int64(min(number(fields["c"]), maxCapacity)),
		Tier:     int(min(number(fields["t"]), maxTier)),
		Slots:    int(min(number(fields["k"]), maxSlots)),
		Taken:    string(fields["f"]) == "true",
		Version:  text(fields["w"]),
	}
	return s.clamped(), int64(min(number(fields["b"]), maxBorn)), nil
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// addressOfText reads an IP address; what is none is invalid.
func addressOfText(raw json.RawMessage) netip.Addr {
	addr, _ := netip.ParseAddr(text(raw))
	return addr
}

// number reads a JSON number that is not negative; what is beyond float64 is
// its greatest value.
func number(raw json.RawMessage) float64 {
	var n json.Number
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &n) != nil {
		return 0
	}
	f, _ := n.Float64()
	if math.IsNaN(f) || f < 0 {
		return 0
	}
	return min(f, math.MaxFloat64)
}
