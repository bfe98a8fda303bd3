package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// quick is what an answer may take that nothing holds: a new connection, the
// request, the answer.
const quick = 10 * storyDelay

// wakeLimit is how late an answer that was held may come after its media.
const wakeLimit = 50 * time.Millisecond

// held tells what is wrong with an answer that was to be held until the media
// were there.
func (st *stage) held(s *seat, a answer, asked time.Time, msn uint64, part int) error {
	if a.err != nil || a.status != http.StatusOK {
		return fmt.Errorf("%v", a)
	}
	at, published := asked.Add(a.last), st.published(msn, part)
	if published.IsZero() || at.Before(published) {
		return fmt.Errorf("answered before part %d of segment %d was there", part, msn)
	}
	if late := at.Sub(published); published.After(asked) && late > min(wakeLimit, s.newsAt()) {
		return fmt.Errorf("answered %v after part %d of segment %d", late, part, msn)
	}
	return nil
}

// _HLS_msn alone is held until the whole segment is listed.
func checkSegmentHeld(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		for range 3 {
			l, _ := s.list("")
			msn, _ := l.open()
			asked := time.Now()
			l, a := s.list(fmt.Sprintf("?_HLS_msn=%d", msn))
			if err := st.held(s, a, asked, msn, -1); err != nil {
				s.errorf("%v", err)
			}
			if l.next() <= msn || l.text == "" {
				s.errorf("segment %d was waited for and is not in the list", msn)
			}
		}
	})
}

// _HLS_msn with _HLS_part is held until that part, or one after it, is listed.
func checkPartHeld(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		l, _ := s.list("")
		for range 12 { // over two ends of segments
			msn, parts := l.open()
			asked := time.Now()
			next, a := s.list(fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts)))
			if err := st.held(s, a, asked, msn, len(parts)); err != nil {
				s.errorf("%v", err)
			}
			if !next.hasPart(msn, len(parts)) {
				s.errorf("part %d of segment %d was waited for and is not in the list", len(parts), msn)
			}
			l = next
		}
	})
}

// hasPart tells whether the list names a part.
func (l *listing) hasPart(msn uint64, part int) bool {
	for _, s := range l.segments {
		if s.msn == msn {
			return part < len(s.parts)
		}
	}
	return false
}

// A part beyond the end of a closed segment means part 0 of the next one.
func checkPartBeyondSegment(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		// At the moment at which a segment was closed, the next has no part.
		l, _ := s.list("")
		msn, _ := l.open()
		l, _ = s.list(fmt.Sprintf("?_HLS_msn=%d", msn))
		closed := l.closed()
		parts := len(closed[len(closed)-1].parts)
		asked := time.Now()
		l, a := s.list(fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, parts))
		if err := st.held(s, a, asked, msn+1, 0); err != nil {
			s.errorf("part %d of %d: %v", parts, parts, err)
		}
		if !l.hasPart(msn+1, 0) {
			s.errorf("part %d of segment %d brings a list without part 0 of the next", parts, msn)
		}
		// Of an older one, the next part 0 is there already.
		if _, a := s.list(fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn-1, parts)); a.last > quick {
			s.errorf("a part beyond an older segment took %v", a.last)
		}
	})
}

// A media sequence number that left the list is answered with the list as it is.
func checkOldSegment(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		l, _ := s.list("")
		first, last := l.sequence(), l.closed()[len(l.closed())-1].msn
		for _, query := range []string{
			"?_HLS_msn=0", "?_HLS_msn=0&_HLS_part=0", fmt.Sprintf("?_HLS_msn=%d", first-1),
			fmt.Sprintf("?_HLS_msn=%d&_HLS_part=3", first), fmt.Sprintf("?_HLS_msn=%d", last),
		} {
			if got, a := s.list(query); a.last > quick || got.sequence() < first {
				s.errorf("%s: %v, from segment %d", query, a, got.sequence())
			}
		}
	})
}

// refusals holds each query to an answer of 400 at once.
func (s *seat) refusals(queries ...string) {
	for _, query := range queries {
		if a := s.get(liveList + query); a.status != http.StatusBadRequest || a.last > quick {
			s.errorf("%s: %v, want 400 at once", query, a)
		}
	}
}

func checkPartWithoutSegment(_ testing.TB, st *stage) {
	st.each(func(s *seat) { s.refusals("?_HLS_part=0", "?_HLS_part=3&_HLS_skip=YES") })
}

// Too far ahead is refused at once; up to the limit it is held.
func checkTooFarAhead(_ testing.TB, st *stage) {
	const limit = 14 + 2 // ceil(3 / 0.225 s) and two more, for players that reckon
	st.each(func(s *seat) {
		l, _ := s.list("")
		msn, parts := l.open()
		last := msn
		if len(parts) == 0 {
			last--
		}
		s.refusals(fmt.Sprintf("?_HLS_msn=%d", last+3), fmt.Sprintf("?_HLS_msn=%d&_HLS_part=0", last+3),
			// The part that is awaited is one past the last.
			fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts)+limit+5))
		if _, a := s.list(fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts)+limit-2)); a.last < quick {
			s.errorf("a part within the limit was answered after %v, want it held", a.last)
		}
		l, _ = s.list("")
		if _, a := s.list(fmt.Sprintf("?_HLS_msn=%d", l.next()+1)); a.last < time.Second {
			s.errorf("a segment within the limit was answered after %v, want it held", a.last)
		}
	})
}

// A request that can't be answered is held for 3 × TARGETDURATION and then
// gets 503, never the list unchanged.
func checkStalledSource(t testing.TB, st *stage) {
	st.stopFeed()
	time.Sleep(time.Second)
	synctest.Wait()
	st.each(func(s *seat) {
		l, _ := s.list("")
		msn, parts := l.open()
		hold := 3 * l.target() // of the first one: who comes a little later shares its wait
		for _, query := range []string{
			fmt.Sprintf("?_HLS_msn=%d", msn), fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts)),
			fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d&_HLS_skip=YES", msn, len(parts)),
		} {
			a := s.get(liveList + query)
			if a.status != http.StatusServiceUnavailable || a.last < hold-quick || a.last > hold+time.Second {
				s.errorf("%s: %v, want 503 after %v to a second more", query, a, hold)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "*" {
				s.errorf("%s: 503 with %v", query, a.header)
			}
		}
		if a := s.get(theatre + l.hint()); a.status != http.StatusServiceUnavailable && a.status != http.StatusNotFound {
			s.errorf("the hinted part: %v", a)
		}
	})
	// And it goes on when the source comes back.
	ctx, stop := context.WithCancel(t.Context())
	st.publish(ctx, st.freshSource())
	time.Sleep(5 * time.Second)
	checkPartHeld(t, st)
	st.stopFeed = stop
	stop()
}

// junk are directives that mean nothing.
var junk = []string{
	"?_HLS_msn=", "?_HLS_msn=-1", "?_HLS_msn=1000000000000", "?_HLS_msn=99999999999999999999999", "?_HLS_msn=1e9",
	"?_HLS_msn=0x10", "?_HLS_msn=%20", "?_HLS_msn=1.5", "?_HLS_msn=1&_HLS_msn=1", "?_HLS_part=1&_HLS_part=2&_HLS_msn=1",
	"?_HLS_msn=1&_HLS_part=", "?_HLS_msn=1&_HLS_part=-1", "?_HLS_msn=1&_HLS_part=1000000000",
	"?_HLS_msn=1&_HLS_part=abc", "?_HLS_skip=", "?_HLS_skip=NO", "?_HLS_skip=YES&_HLS_skip=YES",
}

func checkJunk(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		s.refusals(junk...)
		l, _ := s.list("")
		msn, parts := l.open()
		// In any order, among strangers and unknown directives, which never
		// get into the list.
		for _, query := range []string{
			fmt.Sprintf("?_HLS_part=%d&_HLS_msn=%d", max(len(parts)-1, 0), msn-1),
			fmt.Sprintf("?_HLS_skip=YES&_HLS_part=%d&a=b&_HLS_msn=%d", max(len(parts)-1, 0), msn-1),
			"?_HLS_push=1&_HLS_report=/x&CMCD=bl%3D100&_HLS_pathway=p",
		} {
			got, a := s.list(query)
			if a.last > quick || strings.Contains(got.text, "_HLS") || strings.Contains(got.text, "CMCD") {
				s.errorf("%s: %v:\n%s", query, a, got.text)
			}
		}
	})
}
