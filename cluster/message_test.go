package cluster

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
)

var fullState = State{
	Role: RoleRelay, Status: StatusServing, Media: "10.0.0.7:8080", Public: "192.0.2.7:8080",
	Second: netip.MustParseAddr("2001:db8::7"), Load: 40, Capacity: 100_000_000, Tier: 1, Slots: 4, Taken: true, Version: "1.2.0-rc1",
}

func TestMessageIsGolden(t *testing.T) {
	b, err := encodeMessage(fullState, 1767225600000, maxMessage)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"b":1767225600000,"r":"relay","s":"serving","m":"10.0.0.7:8080","p":"192.0.2.7:8080","a":"2001:db8::7","l":40,"c":100000000,"t":1,"k":4,"f":true,"w":"1.2.0-rc1"}`
	if string(b) != want {
		t.Errorf("encoded %s\nwant    %s", b, want)
	}
	if got, born, err := decodeMessage(b); err != nil || got != fullState || born != 1767225600000 {
		t.Errorf("decoded %+v, %d, %v", got, born, err)
	}
}

func TestMessageFitsWhateverTheState(t *testing.T) {
	long := strings.Repeat("a", 126)
	for _, s := range []State{
		{Role: Role(long), Status: Status(long), Media: long + ":1", Public: long + ":1", Second: netip.MustParseAddr("2001:db88:ffff:ffff:ffff:ffff:ffff:ffff"), Load: math.MaxInt, Capacity: math.MaxInt64, Tier: math.MaxInt, Slots: math.MaxInt, Taken: true, Version: long},
		{Role: "\"\\\"", Status: "<>&", Media: "<<<<:80", Version: strings.Repeat("<\x00\"é", 99)},
		{Load: math.MinInt, Capacity: math.MinInt64},
	} {
		b, err := encodeMessage(s, math.MaxInt64, maxMessage)
		if err != nil || len(b) > maxMessage {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
	if _, err := encodeMessage(fullState, 0, 50); !errors.Is(err, ErrMessageTooLong) {
		t.Errorf("beyond the limit: %v", err)
	}
}

func TestDecodeWhatOthersSend(t *testing.T) {
	tests := map[string]State{
		`{"v":1}`: {},
		`{"v":7,"r":"name-server","x":{"y":[1]},"l":12}`:              {Role: "name-server", Load: 12},
		`{"v":1,"f":1,"k":"4"}`:                                       {},
		`{"v":1,"t":-1,"k":1e9}`:                                      {Slots: maxSlots},
		`{"v":1,"l":-5,"c":-9223372036854775808}`:                     {},
		`{"v":1,"l":1e400,"c":1e400}`:                                 {Load: 100, Capacity: maxCapacity},
		`{"v":1,"l":101,"c":9223372036854775808}`:                     {Load: 100, Capacity: maxCapacity},
		`{"v":1,"l":"NaN","c":"7","r":5,"s":null,"m":[],"w":{}}`:      {},
		`{"v":1,"m":"relay.example.org:443"}`:                         {Media: "relay.example.org:443"},
		`{"v":1,"a":"2001:db8::7"}`:                                   {Second: netip.MustParseAddr("2001:db8::7")},
		`{"v":1,"a":"::"}`:                                            {},
		`{"v":1,"a":"fe80::7%eth0"}`:                                  {},
		`{"v":1,"a":7}`:                                               {},
		`{"v":1,"m":"192.0.2.7"}`:                                     {},
		`{"v":1,"m":"[2001:db8::1]:443"}`:                             {Media: "[2001:db8::1]:443"},
		`{"v":1,"m":"192.0.2.7:0"}`:                                   {},
		`{"v":1,"r":"UPPER","s":"much-too-long-a-word","w":"1.0\n2"}`: {Version: "1.02"},
	}

	for in, want := range tests {
		if got, _, err := decodeMessage([]byte(in)); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
}

func TestDecodeRefusesWhatIsNoMessage(t *testing.T) {
	for _, in := range []string{
		"", "null", "[]", "{}", "garbage", `{"v":0}`, `{"v":-1}`, `{"v":"1"}`, `{"v":NaN}`,
		`{"v":1,"l":NaN}`, `{"v":1}{}`, `{"v":1,"w":"` + strings.Repeat("x", 500) + `"}`,
	} {
		if s, _, err := decodeMessage([]byte(in)); err == nil {
			t.Errorf("%q was read as %+v", in, s)
		}
	}
}

func TestPublicAddr(t *testing.T) {
	gossip := netip.MustParseAddrPort("10.0.0.7:7946")
	tests := map[string]string{
		"192.0.2.7:8080":        "192.0.2.7",
		"[::ffff:192.0.2.7]:80": "192.0.2.7",
		"[2001:db8::7]:443":     "2001:db8::7",
		"0.0.0.0:8080":          "10.0.0.7",
		"relay.example.org:443": "10.0.0.7",
		"":                      "10.0.0.7",
	}
	for media, want := range tests {
		if got := (Member{Address: gossip, State: State{Media: media}}).PublicAddr(); got.String() != want {
			t.Errorf("%q: got %s, want %s", media, got, want)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	b, _ := encodeMessage(fullState, 1767225600000, maxMessage)
	f.Add(b)
	f.Add([]byte(`{"v":2,"new":[1,{"deep":null}],"l":1e400}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, born, err := decodeMessage(in)
		if err != nil {
			return
		}
		out, err := encodeMessage(s, born, maxMessage)
		if err != nil {
			t.Fatalf("%+v was read but can't be written: %v", s, err)
		}
		again, when, err := decodeMessage(out)
		if err != nil || again != s || when != born {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
