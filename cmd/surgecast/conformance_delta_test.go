package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"surgecast/relay"
)

// checkDeltas merges each delta into the version before, as a player does.
func checkDeltas(t *testing.T, r *recording, s *seatRecord) {
	fulls := map[string]*listing{} // by hint, which names a version
	for _, v := range s.versions {
		fulls[v.full.hint()] = v.full
	}
	skips := map[int]int{}
	var before *listing
	for _, v := range s.versions {
		for _, delta := range []*listing{v.skip, v.v2} {
			full := fulls[delta.hint()]
			if before == nil || full == nil {
				continue
			}
			if err := checkDelta(before, full, delta); err != nil {
				t.Errorf("%s, %s: %v:\n%s\nof\n%s", r.name, s.seat, err, delta.text, full.text)
				return
			}
			skips[delta.skipped]++
		}
		before = v.full
	}
	if len(skips) < 5 {
		t.Errorf("%s, %s: deltas skipped only so many segments: %v", r.name, s.seat, skips)
	}
}

// checkDelta tells whether a delta, merged into a version before, gives the
// full list, and skips all that it may.
func checkDelta(before, full, delta *listing) error {
	may := 0 // segments beyond the skip boundary, counted from the end
	for may < len(full.closed()) && full.before(may) >= full.control("CAN-SKIP-UNTIL") {
		may++
	}
	switch {
	case delta.skipped != may:
		return fmt.Errorf("%d segments are skipped, want %d", delta.skipped, may)
	case may == 0 && delta.text != full.text:
		return errors.New("nothing to skip, and yet another list")
	case delta.skipped > 0 && delta.number(delta.header["EXT-X-VERSION"]) < 9:
		return errors.New("EXT-X-VERSION is under 9")
	case len(delta.problems) > 0 || delta.segments[0].init == "":
		return fmt.Errorf("no EXT-X-MAP, or %v", delta.problems)
	}
	var merged []string
	for _, old := range before.closed() {
		if old.msn >= delta.sequence() && old.msn < delta.sequence()+uint64(delta.skipped) {
			// Parts leave a list; what is skipped is beyond them.
			merged = append(merged, slices.DeleteFunc(slices.Clone(old.lines), isPart)...)
		}
	}
	for _, segment := range delta.segments {
		merged = append(merged, segment.lines...)
	}
	var want []string
	for _, segment := range full.segments {
		want = append(want, segment.lines...)
	}
	if !slices.Equal(merged, want) {
		return errors.New("the merged list is another")
	}
	if !slices.EqualFunc(delta.dates, full.dates, maps.Equal) {
		return fmt.Errorf("date ranges %v, want %v", delta.dates, full.dates)
	}
	for _, tag := range headerTags {
		if delta.header[tag] != full.header[tag] {
			return fmt.Errorf("%s differs", tag)
		}
	}
	return nil
}

func isPart(line string) bool { return strings.HasPrefix(line, "#EXT-X-PART:") }

// A delta by v2 keeps all date ranges, since CAN-SKIP-DATERANGES is not
// offered: one of a time that is skipped, one of now, one that is open.
func checkDateRanges(t *testing.T, st *stage) {
	st.stopFeed()
	time.Sleep(time.Second)
	l, _ := st.seats[0].list("")
	dates := ""
	for id, date := range map[string]time.Time{"act-1": l.segments[0].date, "act-2": l.segments[len(l.segments)-1].date} {
		dates += fmt.Sprintf("#EXT-X-DATERANGE:ID=%q,START-DATE=%q,DURATION=1.5,X-ACT=\"a\"\n", id, date.Format(time.RFC3339Nano))
	}
	dates += fmt.Sprintf("#EXT-X-DATERANGE:ID=\"evening\",START-DATE=%q\n", l.segments[0].date.Format(time.RFC3339Nano))
	st.addPart(t, l, dates)
	time.Sleep(time.Second)
	st.each(func(s *seat) {
		full, _ := s.list("")
		if len(full.dates) != 3 {
			s.errorf("%d date ranges:\n%s", len(full.dates), full.text)
		}
		for _, query := range []string{"?_HLS_skip=v2", "?_HLS_skip=YES"} {
			delta, _ := s.list(query)
			if err := checkDelta(l, full, delta); err != nil || delta.skipped == 0 {
				s.errorf("%s: %v:\n%s", query, err, delta.text)
			}
		}
	})
}

// addPart publishes the list with its hinted part and these date ranges.
func (st *stage) addPart(t *testing.T, l *listing, dates string) {
	name, err := relay.ParseMediaName(l.hint())
	if err != nil {
		t.Fatal(err)
	}
	window := st.origin.store.Stream("theatre").Window("main")
	window.Put(name, []byte("a part"), 200*time.Millisecond)
	next := name
	next.Part++
	at := strings.Index(l.text, "#EXT-X-MAP")
	hint := "#EXT-X-PRELOAD-HINT:TYPE=PART,URI="
	part := fmt.Sprintf("#EXT-X-PART:DURATION=0.2,URI=%q\n%s%q", name, hint, next)
	text := l.text[:at] + dates + strings.Replace(l.text[at:], fmt.Sprintf("%s%q", hint, l.hint()), part, 1)
	if err := window.Publish([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// When the list ends, directives are ignored and who waits is let go.
func checkEnd(t *testing.T, st *stage) {
	st.stopFeed()
	time.Sleep(time.Second)
	l, _ := st.seats[0].list("")
	var waiting sync.WaitGroup
	for _, s := range st.seats {
		for _, query := range []string{"?_HLS_msn=%d", "?_HLS_msn=%d&_HLS_part=0"} {
			waiting.Go(func() {
				got, a := s.list(fmt.Sprintf(query, l.next()))
				if !got.ended || a.last > 2*time.Second {
					s.errorf("a request that was held when the list ended: %v", a)
				}
			})
		}
		waiting.Go(func() {
			if a := s.get(theatre + l.hint()); a.status != http.StatusNotFound {
				s.errorf("a part that was hinted when the list ended: %v", a)
			}
		})
	}
	time.Sleep(time.Second)
	asked := [2]int{st.upstream[0].listsAsked(), st.upstream[1].listsAsked()}
	hint := fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=%q\n", l.hint())
	text := strings.Replace(l.text, hint, "", 1) + "#EXT-X-ENDLIST\n"
	if err := st.origin.store.Stream("theatre").Window("main").Publish([]byte(text)); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	time.Sleep(10 * time.Second)
	for i, u := range st.upstream {
		if n := u.listsAsked() - asked[i]; n > 20 {
			t.Errorf("%s asked %d times for a list that has ended", nodeNames[i+1], n)
		}
	}
	st.each(func(s *seat) {
		for _, query := range []string{"", "?_HLS_msn=1", fmt.Sprintf("?_HLS_msn=%d&_HLS_part=3", l.next()+50), "?_HLS_skip=YES"} {
			got, a := s.list(query)
			if a.last > quick || !got.ended || len(got.hints) > 0 || got.skipped > 0 {
				s.errorf("%q after the end: %v:\n%s", query, a, got.text)
			}
		}
	})
}
