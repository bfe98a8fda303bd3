package relay

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// What can wait lets live media go first, and still comes.
func TestLiveMediaGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 * politeBytes
		f := upstreams{"a": func(*http.Request) *http.Response {
			return reply(200, size, bytes.NewReader(make([]byte, size)))
		}}.follower()
		live := new(Precedence)
		fetch := func() time.Duration {
			began := time.Now()
			response, err := live.Polite(f.Client).Get("http://a/")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || len(body) != size {
				t.Fatal(len(body), err)
			}
			return time.Since(began)
		}
		if took := fetch(); took != 0 {
			t.Errorf("%v with nothing live under way", took)
		}
		live.enter()
		if took := fetch(); took < 10*politeWait {
			t.Errorf("%v beside live media that never end", took)
		}
		time.AfterFunc(150*time.Millisecond, live.leave)
		if took := fetch(); took != 150*time.Millisecond {
			t.Errorf("%v beside live media of 150 ms", took)
		}
	})
}
