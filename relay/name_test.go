package relay

import "testing"

func TestMediaNameIsWrittenAndReadInOneWay(t *testing.T) {
	for _, uri := range []string{
		"0000000a/init-0.mp4",
		"0000000a/1732287654.m4s",
		"ffffffff/1732287654.12.m4s",
	} {
		name, err := ParseMediaName(uri)
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		if name.String() != uri {
			t.Errorf("%s came back as %s", uri, name)
		}
	}
	for _, uri := range []string{
		"", "/", "0000000a", "0000000a/", "0000000A/1.m4s", "a/1.m4s", "0000000a/01.m4s", "0000000a/+1.m4s",
		"0000000a/1.m4s/", "0000000a/1.01.m4s", "0000000a/1.2.3.m4s", "0000000a/1..m4s", "0000000a/.m4s",
		"0000000a/init-.mp4", "0000000a/init-0.m4s", "0000000a/-1.m4s", "0000000a/1.10000.m4s",
		"0000000a/18446744073709551616.m4s", "../0000000a/1.m4s", "0000000a/../1.m4s", "+000000a/1.m4s",
	} {
		if name, err := ParseMediaName(uri); err == nil {
			t.Errorf("%q was read as %v", uri, name)
		}
	}
}

func FuzzMediaName(f *testing.F) {
	f.Add("0000000a/init-0.mp4")
	f.Add("0000000a/1732287654.12.m4s")
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseMediaName(s)
		if err == nil && name.String() != s {
			t.Fatalf("%q was read as %q: one object must have one name", s, name)
		}
	})
}

func TestStreamNames(t *testing.T) {
	for _, name := range []string{"theatre", "or-2", "7"} {
		if err := ValidStream(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "pool", "healthz", "Theatre", "a/b", "a.b", "ä", "~x", string(make([]byte, 65))} {
		if ValidStream(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
