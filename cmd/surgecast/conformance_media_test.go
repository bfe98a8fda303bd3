package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// A part whose tag left the list is there for three target durations more.
func checkRemovedPart(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		l, _ := s.list("")
		var part string
		for _, segment := range l.segments {
			if len(segment.parts) > 0 {
				part = segment.parts[0]["URI"]
				break
			}
		}
		for strings.Contains(l.text, part) {
			l, _ = s.list(fmt.Sprintf("?_HLS_msn=%d", l.next()))
		}
		for gone := time.Now(); time.Since(gone) < 3*l.target(); time.Sleep(l.target() / 4) {
			if a := s.get(theatre + part); a.status != http.StatusOK || a.last > quick {
				s.errorf("a part %v after its tag: %v", time.Since(gone), a)
			}
		}
	})
}

// A segment is there from its first listing on for its duration and that of
// the longest list; some time later it is 404, quickly.
func checkRemovedSegment(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		l, _ := s.list("")
		segment := l.closed()[len(l.closed())-1]
		listed, longest := st.published(segment.msn, -1), time.Duration(0)
		for ; ; time.Sleep(500 * time.Millisecond) {
			l, _ := s.list("")
			longest = max(longest, l.before(-1))
			a, age := s.get(theatre+segment.uri), time.Since(listed)
			switch {
			case a.last > quick:
				s.errorf("a segment after %v: %v", age, a)
			case a.status == http.StatusNotFound && age < segment.duration+longest:
				s.errorf("a segment is gone after %v, want it for %v and %v", age, segment.duration, longest)
				return
			case a.status == http.StatusNotFound:
				return
			case a.status != http.StatusOK || age > stageWindow+30*time.Second:
				s.errorf("a segment after %v: %v", age, a)
				return
			}
		}
	})
}

// The parts of a segment, one after the other, are the segment.
func checkPartsAreSegment(t *testing.T, r *recording, s *seatRecord) {
	compared := map[string]bool{}
	for _, v := range s.fetched() {
		for _, segment := range v.full.closed() {
			if len(segment.parts) == 0 || compared[segment.uri] {
				continue
			}
			compared[segment.uri] = true
			var joined strings.Builder
			for _, p := range segment.parts {
				joined.WriteString(s.media[p["URI"]])
			}
			if joined.String() != s.media[segment.uri] {
				t.Errorf("%s, %s: segment %d has %d bytes, its parts %d", r.name, s.seat, segment.msn, len(s.media[segment.uri]), joined.Len())
			}
		}
	}
	if len(compared) < int(r.lasts.Seconds())/3 {
		t.Errorf("%s, %s: only %d segments compared", r.name, s.seat, len(compared))
	}
}

// The hinted part is held, and its first byte comes when all of it is there.
func checkHintedHeld(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		for range 7 {
			l, _ := s.list("")
			msn, parts := l.open()
			asked := time.Now()
			a := s.get(theatre + l.hint())
			if err := st.held(s, a, asked, msn, len(parts)); err != nil {
				s.errorf("%s: %v", l.hint(), err)
			}
			if asked.Add(a.first).Before(st.published(msn, len(parts))) || a.last-a.first > storyDelay {
				s.errorf("%s: the first byte comes %v before the last", l.hint(), a.last-a.first)
			}
			if again := s.get(theatre + l.hint()); again.body != a.body || a.body == "" {
				s.errorf("%s has %d bytes when held, then %d", l.hint(), len(a.body), len(again.body))
			}
		}
	})
}

// What is not there and does not come is 404 at once.
func checkUnknownPart(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		l, _ := s.list("")
		epoch, _, _ := strings.Cut(l.hint(), "/")
		closed := l.closed()[len(l.closed())-1]
		for _, uri := range []string{
			fmt.Sprintf("%s/%d.%d.m4s", epoch, closed.msn, len(closed.parts)),
			fmt.Sprintf("%s/%d.m4s", epoch, l.sequence()-100),
			fmt.Sprintf("%s/%d.0.m4s", epoch, l.sequence()-100),
			fmt.Sprintf("00000001/%d.m4s", closed.msn), epoch + "/init-77.mp4", epoch + "/nonsense.m4s", "nonsense",
		} {
			if a := s.get(theatre + uri); a.status != http.StatusNotFound || a.last > quick {
				s.errorf("%s: %v, want 404 at once", uri, a)
			}
		}
		// Too far ahead is a mistake that is not waited for either.
		if a := s.get(theatre + fmt.Sprintf("%s/%d.0.m4s", epoch, closed.msn+100)); a.status/100 != 4 || a.last > quick {
			s.errorf("a part far ahead: %v", a)
		}
	})
}

// The fragments go on from one to the next, each as long as its part says.
func checkFragments(t *testing.T, r *recording, s *seatRecord) {
	s.walk(t, r, func(spans []hlscheck.Span, part attributes) error {
		lead := spans[0].End - spans[0].Start
		if listed := (&listing{}).seconds(part["DURATION"]); (lead - listed).Abs() > 2*time.Microsecond {
			return fmt.Errorf("lasts %v, its media %v", listed, lead)
		}
		return nil
	})
}

// avSkew is how far sound may begin from the picture within a part: an audio
// frame, and what rounding leaves of another.
const avSkew = 2 * 1024 * time.Second / 48000

// Sound and picture of a part begin together.
func checkSync(t *testing.T, r *recording, s *seatRecord) {
	s.walk(t, r, func(spans []hlscheck.Span, _ attributes) error {
		if skew := (spans[len(spans)-1].Start - spans[0].Start).Abs(); skew > avSkew {
			return fmt.Errorf("sound and picture begin %v apart", skew)
		}
		return nil
	})
}

// walk reads all media part by part, in order, and lets check look at what the
// tracks of each cover.
func (s *seatRecord) walk(t *testing.T, r *recording, check func(spans []hlscheck.Span, part attributes) error) {
	var c hlscheck.Continuity
	inits, init, discontinuities := 0, "", 0
	for _, segment := range s.segments() {
		if segment.discontinuity {
			c.Break()
			discontinuities++
		}
		if segment.init != init {
			for _, problem := range c.Init([]byte(s.media[segment.init])) {
				t.Errorf("%s, %s: %s: %s", r.name, s.seat, segment.init, problem)
			}
			if inits++; init != "" && !segment.discontinuity {
				t.Errorf("%s, %s: segment %d has another init segment and no discontinuity", r.name, s.seat, segment.msn)
			}
			init = segment.init
		}
		for _, part := range segment.parts {
			problems := c.Media([]byte(s.media[part["URI"]]))
			if err := check(c.Spans(), part); err != nil {
				problems = append(problems, err.Error())
			}
			if len(problems) > 0 {
				t.Errorf("%s, %s: %s: %v", r.name, s.seat, part["URI"], problems)
				return // the next ones mostly say the same
			}
		}
	}
	if encoders := max(len(r.sources), 1); discontinuities != encoders-1 || inits > encoders {
		t.Errorf("%s, %s: %d discontinuities and %d init segments of %d encoders", r.name, s.seat, discontinuities, inits, encoders)
	}
}

// fetched are the versions of which all media were taken: the last one may have
// come at the very end.
func (s *seatRecord) fetched() []snapshot { return s.versions[:max(len(s.versions)-1, 0)] }

// segments returns every closed segment that was seen with its parts, once.
func (s *seatRecord) segments() []listedSegment {
	var all []listedSegment
	for _, v := range s.fetched() {
		for _, segment := range v.full.closed() {
			if len(segment.parts) > 0 && (len(all) == 0 || segment.msn > all[len(all)-1].msn) {
				all = append(all, segment)
			}
		}
	}
	return all
}

// Dates are wall time to a frame, and do not drift against EXTINF.
func checkDates(t *testing.T, r *recording, s *seatRecord) {
	var before listedSegment
	for i, segment := range s.segments() {
		if i > 0 && !segment.discontinuity {
			if gap := segment.date.Sub(before.date.Add(before.duration)).Abs(); gap > 2*time.Millisecond {
				t.Errorf("%s, %s: segment %d is dated %v from where the one before ends", r.name, s.seat, segment.msn, gap)
			}
		}
		before = segment
		if len(r.sources) != 1 || r.source.GOP <= 0 {
			continue // when each segment is shown is known of one encoder with key frames
		}
		if off := r.offset(segment); off.Abs() > time.Duration(float64(time.Second)/r.fps) {
			t.Errorf("%s, %s: segment %d is dated %v from when it was shown", r.name, s.seat, segment.msn, off)
		}
	}
}

// offset returns how far a date is from the nearest time at which the source
// began a group of pictures.
func (r *recording) offset(segment listedSegment) time.Duration {
	gop := float64(r.source.GOP) / r.exactRate()
	since := segment.date.Sub(r.source.Start).Seconds()
	return time.Duration((since - gop*float64(int(since/gop+0.5))) * float64(time.Second))
}

// exactRate is what 29.97 and its like mean.
func (r *recording) exactRate() float64 {
	if whole := float64(int(r.fps + 0.5)); whole != r.fps {
		return whole * 1000 / 1001
	}
	return r.fps
}

// The reader of lists never panics, whatever is done to a real one.
func checkDecoderFuzz(_ *testing.T, recordings []*recording) {
	mauled := sized(500, 5000)
	random := rand.New(rand.NewPCG(2012, 3))
	for _, r := range recordings {
		versions := r.seen[0].versions
		for range mauled {
			text := []byte(versions[random.IntN(len(versions))].full.text)
			for range 1 + random.IntN(8) {
				text = maul(random, text)
			}
			_, _ = relay.ParsePlaylist(text)
		}
	}
}

// maul cuts a piece out, doubles one, or changes a byte.
func maul(random *rand.Rand, text []byte) []byte {
	if len(text) < 2 {
		return append(text, '#')
	}
	from := random.IntN(len(text) - 1)
	to := from + random.IntN(min(40, len(text)-from))
	switch random.IntN(3) {
	case 0:
		return slices.Delete(text, from, to)
	case 1:
		return slices.Insert(text, random.IntN(len(text)), slices.Clone(text[from:to])...)
	}
	text[from] = byte(random.Uint32())
	return text
}
