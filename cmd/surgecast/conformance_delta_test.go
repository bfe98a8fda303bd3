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
func checkDateRanges(t testing.TB, st *stage) {
	l, _ := st.seats[0].list("")
	old, now := l.segments[0].date.Add(5*time.Second), l.segments[len(l.segments)-1].date
	for _, mark := range []struct {
		id    string
		start time.Time
		lasts time.Duration
	}{{"act-1", old, time.Second}, {"act-2", now, 2 * time.Second}, {"evening", old, -1}} {
		d, err := relay.NewDateRange(mark.id, mark.start, mark.lasts, `X-ACT="a"`)
		if err == nil {
			err = st.origin.origin.Mark("theatre", d)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	st.each(func(s *seat) {
		for _, query := range []string{"&_HLS_skip=v2", "&_HLS_skip=YES"} {
			before, _ := s.list("")
			msn, parts := before.open()
			block := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts))
			full, _ := s.list(block)
			delta, _ := s.list(block + query)
			if len(full.dates) != 3 || delta.skipped == 0 {
				s.errorf("%d date ranges, %d skipped:\n%s", len(full.dates), delta.skipped, delta.text)
			}
			if err := checkDelta(before, full, delta); err != nil {
				s.errorf("%s: %v:\n%s", query, err, delta.text)
			}
		}
	})
}

// When the list ends, directives are ignored and who waits is let go.
func checkEnd(t testing.TB, st *stage) {
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
	if err := st.origin.origin.End("theatre"); err != nil {
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
