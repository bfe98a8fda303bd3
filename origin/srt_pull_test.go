package origin

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"
)

// A source that is called by SRT is asked for by its stream id, understood by the
// passphrase, and called again when it has hung up.
func TestSRTPull(t *testing.T) {
	t.Parallel()
	const passphrase = "secret-of-the-theatre"
	config := srt.DefaultConfig()
	config.Passphrase = passphrase
	listener, err := srt.Listen("srt", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer listener.Close()
	sent := tsSound(t)
	serving.Go(func() {
		for {
			request, err := listener.Accept2()
			if err != nil {
				return
			}
			if request.StreamId() != "stage" || request.SetPassphrase(passphrase) != nil {
				t.Errorf("asked for %q", request.StreamId())
				request.Reject(srt.REJ_PEER)
				continue
			}
			conn, err := request.Accept()
			if err != nil {
				continue
			}
			for at := 0; at < len(sent); at += srtPayload {
				_, _ = conn.Write(sent[at:min(at+srtPayload, len(sent))]) // it may have left
			}
			time.Sleep(2 * DefaultSRTLatency) // what is on its way would be lost
			_ = conn.Close()
		}
	})
	gate, publishers, log := testGate(GateConfig{})
	pull, err := NewPull(PullConfig{
		Stream: "theatre", URL: "srt://" + listener.Addr().String(), StreamID: "stage", Passphrase: passphrase,
		CallSRT: callHere, Gate: gate, Logger: gate.logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, pull.Run)
	for range 2 {
		p := await(t, publishers, log)
		if units := p.take(t, 1<<20); len(units) < 100 {
			t.Errorf("%d units", len(units))
		}
	}
	log.await(t, "the line has ended")
	if strings.Contains(log.String(), passphrase) {
		t.Errorf("the log has the passphrase:\n%s", log)
	}
}

// callHere makes a call without a process of its own.
func callHere(ctx context.Context, call SRTCall) (io.ReadCloser, error) {
	r, w := io.Pipe()
	h := &hereCall{PipeReader: r, ended: make(chan error, 1)}
	go func() {
		err := call.Run(ctx, w)
		_ = w.Close()
		h.ended <- err
	}()
	return h, nil
}

type hereCall struct {
	*io.PipeReader
	ended chan error
}

func (h *hereCall) Close() error {
	_ = h.PipeReader.Close()
	return <-h.ended
}

func TestSRTPullChecks(t *testing.T) {
	for _, c := range []struct {
		config PullConfig
		want   string
	}{
		{PullConfig{URL: "srt://192.0.2.30:8890", StreamID: "stage"}, ""},
		{PullConfig{URL: "srt://192.0.2.30"}, "srt://HOST:PORT"},
		{PullConfig{URL: "srt://192.0.2.30:8890?streamid=stage"}, "keys of their own"},
		{PullConfig{URL: "srt://192.0.2.30:8890", User: "camera"}, "SRT knows none"},
		{PullConfig{URL: "srt://192.0.2.30:8890", Passphrase: "short"}, "5 letters"},
		{PullConfig{URL: "srt://192.0.2.30:8890", Latency: time.Minute}, "out of bounds"},
		{PullConfig{URL: "srt://192.0.2.30:8890", StreamID: strings.Repeat("x", 513)}, "513 bytes"},
		{PullConfig{URL: "rtsp://192.0.2.30/stream1", StreamID: "stage"}, "srt://HOST:PORT"},
	} {
		err := c.config.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}
