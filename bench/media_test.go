package main

import (
	"os"
	"testing"
	"time"
)

func readTestdata(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func date(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestParseMedia(t *testing.T) {
	m, err := parseMedia(readTestdata(t, "full.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (position{102, 2}); m.next != want {
		t.Errorf("next is %v, want %v", m.next, want)
	}
	if want := date(t, "2026-11-22T16:06:02.4Z"); !m.end.Equal(want) {
		t.Errorf("end is %v, want %v", m.end, want)
	}
	if !m.blocks || !m.skips || m.ended || m.holdBack != 675*time.Millisecond {
		t.Errorf("control is %+v", m)
	}
	if len(m.parts) != 7 {
		t.Fatalf("%d parts, want 7", len(m.parts))
	}
	fourth := m.parts[3]
	if fourth.position != (position{101, 3}) || fourth.uri != "6b0312da/101.3.m4s" || fourth.init != "6b0312da/init-0.mp4" ||
		!fourth.start.Equal(date(t, "2026-11-22T16:06:01.6Z")) || fourth.independent {
		t.Errorf("the fourth part is %+v", fourth)
	}
}

func TestParseDelta(t *testing.T) {
	m, err := parseMedia(readTestdata(t, "delta.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	if m.parts[0].position != (position{101, 0}) || m.next != (position{102, 0}) {
		t.Errorf("first part %v, next %v", m.parts[0].position, m.next)
	}
}

// A viewer begins at a key picture that is as far behind the end as the list
// says, or farther.
func TestFrom(t *testing.T) {
	m, err := parseMedia(readTestdata(t, "full.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	load, play, ok := m.from()
	if !ok || load.position != (position{101, 0}) {
		t.Errorf("loads from %v, want 101.0", load.position)
	}
	if want := m.end.Add(-675 * time.Millisecond); !play.Equal(want) {
		t.Errorf("plays from %v, want %v", play, want)
	}
}

func TestReload(t *testing.T) {
	m := &media{next: position{102, 2}, blocks: true, skips: true}
	if got, want := reload("/t/main/live.m3u8", m), "/t/main/live.m3u8?_HLS_msn=102&_HLS_part=2&_HLS_skip=YES"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	m.ended = true
	if got := reload("/t/main/live.m3u8", m); got != "/t/main/live.m3u8" {
		t.Errorf("an ended list is asked for as %s", got)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range [][3]string{
		{"/t/index.m3u8", "main/live.m3u8", "/t/main/live.m3u8"},
		{"/t/main/live.m3u8", "/x/a.mp4", "/x/a.mp4"},
		{"/t/main/live.m3u8", "../audio/a.mp4", "/t/audio/a.mp4"},
		{"/index.m3u8", "a.m3u8", "/a.m3u8"},
		{"/t/index.m3u8", "http://192.0.2.2:8080/t/main/live.m3u8", "/t/main/live.m3u8"},
	} {
		if got := resolve(c[0], c[1]); got != c[2] {
			t.Errorf("%s in %s is %s, want %s", c[1], c[0], got, c[2])
		}
	}
}

func FuzzParseMedia(f *testing.F) {
	f.Add(readTestdata(f, "full.m3u8"))
	f.Add(readTestdata(f, "delta.m3u8"))
	f.Add("#EXTM3U\n#EXT-X-PART:DURATION=1e300,URI=\"\n#EXT-X-SKIP:SKIPPED-SEGMENTS=-1")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMedia(text)
		if err != nil {
			return
		}
		if m.end.IsZero() || m.holdBack == 0 {
			t.Errorf("a list without end or hold-back was taken: %+v", m)
		}
		for i, part := range m.parts {
			if i > 0 && !m.parts[i-1].before(part.position) {
				t.Errorf("part %v stands after %v", part.position, m.parts[i-1].position)
			}
		}
		_, _, _ = m.from()
		_, _ = m.after(m.next)
	})
}
