package origin

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	srt "github.com/datarhei/gosrt"
)

// SRTCall is a source that is called by SRT and sends MPEG-TS. It is made from a
// process of its own: the library reads the other side's hello on a goroutine
// where a crooked one ends the process, and leaves one behind for each call that
// failed.
type SRTCall struct {
	Address    string // host:port
	StreamID   string
	Passphrase string // 10 to 79 bytes; "": nothing is encrypted
	Latency    time.Duration
}

// Run calls, and copies what comes until the line or ctx ends. The error says
// how the line was.
func (c SRTCall) Run(ctx context.Context, to io.Writer) error {
	config := srt.DefaultConfig()
	config.StreamId, config.Passphrase = c.StreamID, c.Passphrase
	config.ReceiverLatency, config.PeerIdleTimeout = c.Latency, mediaTimeout
	config.PayloadSize = srtPayload
	conn, err := srt.Dial("srt", c.Address, config)
	if err != nil {
		return err
	}
	hangUp := sync.OnceFunc(func() { _ = conn.Close() })
	defer hangUp()
	defer context.AfterFunc(ctx, hangUp)()
	_, _ = io.CopyBuffer(to, conn, make([]byte, srtPayload)) // whichever side it was, it is over
	var all srt.Statistics
	conn.Stats(&all)
	return fmt.Errorf("the line has ended: round trip %.0f ms, of %d packets %d were lost and %d never came",
		all.Instantaneous.MsRTT, all.Accumulated.PktRecv, all.Accumulated.PktRecvLoss, all.Accumulated.PktRecvDrop)
}
