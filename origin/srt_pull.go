package origin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxSRTStreamID is what SRT allows, bytes.
const maxSRTStreamID = 512

// bySRT tells whether the source is called by SRT.
func (c PullConfig) bySRT() bool { return strings.HasPrefix(c.URL, "srt://") }

// checkSRT says what is wrong with the keys of a source that is called by SRT.
func (c PullConfig) checkSRT() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Port() == "" || u.Hostname() == "" {
		return errors.New("url: write srt://HOST:PORT")
	}
	switch n := len(c.Passphrase); {
	case u.User != nil || u.RawQuery != "" || u.Path != "":
		return errors.New("url: write srt://HOST:PORT alone; stream_id, passphrase_file and latency are keys of their own")
	case c.User != "":
		return errors.New("user: SRT knows none; write stream_id and passphrase_file")
	case len(c.StreamID) > maxSRTStreamID:
		return fmt.Errorf("stream_id: it has %d bytes, SRT takes %d", len(c.StreamID), maxSRTStreamID)
	case n > 0 && (n < minSRTPassphrase || n > MaxSRTPassphrase):
		return fmt.Errorf("passphrase_file: it holds %d letters: SRT takes %d to %d", n, minSRTPassphrase, MaxSRTPassphrase)
	case c.Latency != 0 && (c.Latency < 20*time.Millisecond || c.Latency > 8*time.Second):
		return fmt.Errorf("latency: %v is out of bounds: write 20ms to 8s", c.Latency)
	}
	return nil
}

// fetchSRT is fetch for a source that is called by SRT.
func (p *Pull) fetchSRT(ctx context.Context) error {
	address := strings.TrimPrefix(p.config.URL, "srt://")
	admitted, err := p.config.Gate.invite("SRT pull", p.config.Stream, p.config.Branch, hostAddr(address))
	if err != nil {
		return err
	}
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	latency := p.config.Latency
	if latency == 0 {
		latency = DefaultSRTLatency
	}
	line, err := p.config.CallSRT(ctx, SRTCall{Address: address, StreamID: p.config.StreamID, Passphrase: p.config.Passphrase, Latency: latency})
	if err != nil {
		return err
	}
	silent := time.AfterFunc(pullHandshake, hangUp)
	defer silent.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	feed := &mpegtsFeed{admission: admitted, transport: "SRT", begin: func(in *ingest) {
		silent.Stop()
		running.Go(func() {
			_ = in.run() // has logged it
			hangUp()     // if it isn't the line that has ended
		})
	}}
	reason := feed.read(line)
	hangUp()
	if ended := line.Close(); errors.Is(reason, errDisconnect) && ended != nil {
		reason = ended
	}
	if feed.ingest != nil {
		feed.ingest.end(reason)
	}
	return reason
}
