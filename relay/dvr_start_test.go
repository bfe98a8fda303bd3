package relay

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// startLooks starts an origin, a relay and a relay of that one, with a live
// list in which no segment has closed yet.
func startLooks(t *testing.T) (nodes []*lookNode) {
	t.Helper()
	o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
	r := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
	child := startLook(t, t.TempDir(), time.Hour, lookBytes, r, func(c *DVRConfig) {
		c.Client.Transport = &looking{"http://origin": r}
	})
	o.feed.parts(2)
	r.see(o)
	child.see(o)
	return []*lookNode{o, r, child}
}

// answered is what a request led to, and how long that took.
type answered struct {
	*httptest.ResponseRecorder
	after time.Duration
}

// askAll begins to ask every node for the same.
func askAll(nodes []*lookNode, path string) <-chan answered {
	began, answers := time.Now(), make(chan answered, len(nodes))
	for _, n := range nodes {
		go func() {
			w := n.get(path)
			answers <- answered{w, time.Since(began)}
		}()
	}
	synctest.Wait()
	return answers
}

// Who looks back at the start of a stream, as its multivariant playlist lets
// them, is given the list as soon as there is one.
func TestTheFirstLongListIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := startLooks(t)
		o := nodes[0]
		for _, n := range nodes {
			if w := n.get("/theatre/dvr.m3u8"); w.Code != 200 {
				t.Errorf("the multivariant playlist: %d", w.Code)
			}
		}
		answers := askAll(nodes, "/theatre/main/dvr.m3u8")
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatalf("answered before a segment has closed: %d", (<-answers).Code)
		}
		o.feed.parts(feedParts - 2)
		for range nodes {
			w := <-answers
			if w.Code != 200 || !strings.Contains(w.Body.String(), media(10, 1000)) || w.Header().Get("Cache-Control") != "public, max-age=1" {
				t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
			}
			if w.after != 700*time.Millisecond {
				t.Errorf("answered after %v, the first segment was there after 700 ms", w.after)
			}
		}
		if n := o.count("/theatre/main/dvr.m3u8"); n != 2 {
			t.Errorf("the origin was asked %d times, want once by a viewer and once by the relay", n)
		}
	})
}

// Where no segment comes the answer is one that players try again, in the time
// in which a held request ends.
func TestAFirstLongListThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := startLooks(t)
		answers := askAll(nodes, "/theatre/main/dvr.m3u8")
		for range nodes {
			w := <-answers
			if got := fmt.Sprintf("%d %s %s", w.Code, w.Header().Get("Cache-Control"), w.Header().Get("Retry-After")); got != "503 no-store 2" {
				t.Error(got)
			}
			if w.after < listPatience || w.after > 6*time.Second {
				t.Errorf("answered after %v", w.after)
			}
		}
		nodes[0].feed.parts(feedParts - 2)
		time.Sleep(time.Second)
		for _, n := range nodes {
			n.list()
		}
	})
}

// A rendition that comes later is named before it is recorded.
func TestARenditionIsNamedBeforeItIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(2)
		st := o.store.Stream("theatre")
		st.setRecording("main", nil)
		answers := askAll([]*lookNode{o}, "/theatre/main/dvr.m3u8")
		if len(answers) != 0 {
			t.Fatalf("answered before it is recorded: %d", (<-answers).Code)
		}
		if w := o.get("/theatre/dvr.m3u8"); w.Code != 200 {
			t.Errorf("the multivariant playlist meanwhile: %d", w.Code)
		}
		r, err := o.dvr.newRecording(st, "main", time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		st.setRecording("main", r)
		if w := <-answers; w.Code != 200 || w.after != 0 {
			t.Errorf("%d after %v", w.Code, w.after)
		}
		st.setRecording("main", nil)
		answers = askAll([]*lookNode{o}, "/theatre/main/dvr.m3u8")
		st.setLookedBack(false)
		if w := <-answers; w.Code != 404 || o.get("/theatre/dvr.m3u8").Code != 404 {
			t.Errorf("nobody can look back any more: %d", w.Code)
		}
	})
}

// A relay that is told of a stream sooner than its parent asks again.
func TestTheFirstLongListOfAParentThatKnowsNothingYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		r := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
		o.segments(2)
		r.see(o)
		st := o.store.Stream("theatre")
		recording := st.recording("main")
		st.setLookedBack(false)
		st.setRecording("main", nil)
		answers := askAll([]*lookNode{r}, "/theatre/main/dvr.m3u8")
		time.Sleep(1500 * time.Millisecond)
		if len(answers) != 0 {
			t.Fatalf("given up: %d", (<-answers).Code)
		}
		st.setRecording("main", recording)
		if w := <-answers; w.Code != 200 || w.after != 2*time.Second {
			t.Errorf("%d after %v", w.Code, w.after)
		}
	})
}
