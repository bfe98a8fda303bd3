package origin

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/bytecounter"
	"github.com/bluenviron/gortmplib/pkg/message"
	"github.com/bluenviron/gortmplib/pkg/rawmessage"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// rtmpHello is C0, C1 and C2.
var rtmpHello = append([]byte{3}, make([]byte, rtmpHandshake-1)...)

// rtmpChunk0 is a chunk of type 0.
func rtmpChunk0(stream, kind byte, length int, body []byte) []byte {
	header := []byte{stream, 0, 0, 0, byte(length >> 16), byte(length >> 8), byte(length), kind, 0, 0, 0, 0}
	return append(header, body...)
}

// rtmpSize sets the size of chunks.
func rtmpSize(size uint32) []byte {
	return rtmpChunk0(2, rtmpSetChunkSize, 4, binary.BigEndian.AppendUint32(nil, size))
}

// oddRTMP is what clients send behind the handshake to have the origin keep it:
// more than it keeps, or deeper than it goes.
func oddRTMP() map[string][]byte {
	const much = 2 << 20
	nested := append([]byte{2, 0, 7}, "connect"...)
	nested = append(nested, bytes.Repeat([]byte{10, 0, 0, 0, 1}, 20000)...) // arrays of one array
	endless := append([]byte{2, 0xff, 0xff}, bytes.Repeat([]byte{'a'}, maxRTMPCommand-3)...)
	var streams []byte
	for stream := byte(3); stream < 64; stream++ {
		streams = append(streams, rtmpChunk0(stream, rtmpVideo, 10<<20, make([]byte, 32<<10))...)
	}
	return map[string][]byte{
		"chunk size 0":    append(rtmpSize(0), bytes.Repeat(rtmpChunk0(3, rtmpVideo, 1<<20, nil), much/12)...),
		"chunk size 1":    append(rtmpSize(1), bytes.Repeat([]byte{0xc3, 1}, much/2)...),
		"chunk size 2^31": append(rtmpSize(1<<31), rtmpChunk0(3, rtmpVideo, 10<<20, make([]byte, much))...),
		// 24 bits hold no length of 1 GiB; this is the most.
		"largest message":     append(rtmpSize(1<<20), rtmpChunk0(3, rtmpVideo, 1<<24-1, make([]byte, much))...),
		"many messages":       append(rtmpSize(32<<10), streams...),
		"AMF 20,000 deep":     append(rtmpSize(1<<20), rtmpChunk0(3, 20, len(nested), nested)...),
		"AMF as deep as fits": append(rtmpSize(1<<20), rtmpChunk0(3, 20, 65000, nested[:65000])...),
		"endless string":      append(rtmpSize(1<<20), rtmpChunk0(3, 20, len(endless), endless)...),
		"RTMPE":               nil,
		"noise":               bytes.Repeat([]byte{0xff}, much),
	}
}

// Row 26 of what an encoder may do: twenty clients at once for each oddity, with
// no key. All are sent away, at once or in time; what they made the origin keep
// is little, and the encoder that publishes goes on.
func TestRTMPOddChunks(t *testing.T) {
	s := startRTMP(t, GateConfig{MaxConnections: 300, MaxConnectionsPerAddress: 300}, nil, func(r *RTMP) { r.listener.handshake = 4 * time.Second })
	good := publishSound(t, s)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var sent, gone sync.WaitGroup
	for name, odd := range oddRTMP() {
		hello := slices.Clone(rtmpHello)
		if name == "RTMPE" {
			hello[0] = 6
		}
		for range 20 {
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sent.Go(func() { // fails where it was closed meanwhile
				_, _ = conn.Write(hello)
				_, _ = conn.Write(odd)
			})
			gone.Go(func() {
				_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
					t.Errorf("%s: is still there", name)
				}
			})
		}
	}
	sent.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d clients sent all they could: %.1f MiB kept", 20*len(oddRTMP()), float64(kept)/(1<<20))
	if kept > 64<<20 {
		t.Errorf("%d MiB are kept", kept>>20)
	}
	good.sound(t)
	gone.Wait()
	good.sound(t)
	if len(s.publishers.published) > 0 {
		t.Error("somebody else published")
	}
}

// rtmpSound is an encoder that sends sound alone.
type rtmpSound struct {
	*gortmplib.Client
	published *fakePublication
	at        time.Duration
}

func publishSound(t *testing.T, s *rtmpServer) *rtmpSound {
	t.Helper()
	r := &rtmpSound{Client: &gortmplib.Client{
		URL: &url.URL{Scheme: "rtmp", Host: s.Addr().String(), Path: "/theatre/" + testKey}, Publish: true,
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.Initialize(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	config := &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2}
	if err := r.Write(&message.Audio{ChunkStreamID: 4, Codec: message.CodecMPEG4Audio, AACType: message.AudioAACTypeConfig, AACConfig: config}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); r.published == nil; {
		r.send(t)
		select {
		case r.published = <-s.publishers.published:
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing was published:\n%s", s.log)
		}
	}
	return r
}

func (r *rtmpSound) send(t *testing.T) {
	t.Helper()
	r.at += 20 * time.Millisecond
	err := r.Write(&message.Audio{ChunkStreamID: 4, DTS: r.at, Codec: message.CodecMPEG4Audio, AACType: message.AudioAACTypeAU, AU: []byte{1, 2, 3}})
	if err != nil {
		t.Fatalf("the good encoder: %v", err)
	}
}

// sound holds that sound still comes out.
func (r *rtmpSound) sound(t *testing.T) {
	t.Helper()
	for len(r.published.units) > 0 {
		<-r.published.units
	}
	r.send(t)
	select {
	case <-r.published.units:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is published any more")
	}
}

func TestRTMPChunks(t *testing.T) {
	publish := append([]byte{2, 0, 7}, "publish"...)
	for name, c := range map[string]struct {
		sent     []byte
		admitted bool
		want     error
	}{
		"a command":                 {rtmpChunk0(3, 20, len(publish), publish), false, nil},
		"a small picture":           {rtmpChunk0(6, rtmpVideo, 1<<10, make([]byte, 128)), false, nil},
		"a large picture too early": {rtmpChunk0(6, rtmpVideo, 1<<20, nil), false, errRTMPLarge},
		"a large picture":           {rtmpChunk0(6, rtmpVideo, 1<<20, nil), true, nil},
		"a large command":           {rtmpChunk0(3, 18, 1<<17, nil), true, errRTMPLarge},
		"pictures on two streams":   {append(append(rtmpSize(1<<20), rtmpChunk0(6, rtmpVideo, 9<<20, make([]byte, 1<<20))...), rtmpChunk0(7, rtmpVideo, 9<<20, nil)...), true, errRTMPLarge},
		"one large after another":   {bytes.Repeat(rtmpChunk0(6, rtmpVideo, 100<<10, nil), 1), false, nil},
		"a tiny chunk size":         {rtmpSize(127), true, errRTMPChunk},
		"another large one":         {append(rtmpSize(9<<20), bytes.Repeat(rtmpChunk0(6, rtmpVideo, 9<<20, make([]byte, 9<<20)), 3)...), true, nil},
		"nothing to continue":       {[]byte{0xc4}, true, errRTMPOrder},
		"a new one within another":  {bytes.Repeat(rtmpChunk0(6, rtmpVideo, 1<<10, make([]byte, 128)), 2), true, errRTMPOrder},
		"a new one after abort": {slices.Concat(rtmpChunk0(6, rtmpVideo, 1<<10, make([]byte, 128)),
			rtmpChunk0(2, rtmpAbort, 4, []byte{0, 0, 0, 6}), rtmpChunk0(6, rtmpVideo, 64, make([]byte, 64))), true, nil},
		"a long size": {rtmpChunk0(2, rtmpSetChunkSize, 5, make([]byte, 5)), true, errRTMPOrder},
	} {
		chunks := newRTMPChunks(bytes.NewReader(append(slices.Clone(rtmpHello), c.sent...)))
		if c.admitted {
			chunks.admitted()
		}
		if _, err := io.Copy(io.Discard, chunks); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := io.Copy(io.Discard, newRTMPChunks(bytes.NewReader([]byte{6}))); !errors.Is(err, errRTMPVersion) {
		t.Errorf("RTMPE: %v", err)
	}
}

// FuzzRTMPChunks holds that our reading of chunks and the library's agree on
// where each message ends, so that what is bounded here is what is kept there.
func FuzzRTMPChunks(f *testing.F) {
	f.Add(rtmpChunk0(3, 20, 4, []byte{2, 0, 1, 'a'}))
	f.Add(append(rtmpSize(200), append(rtmpChunk0(6, rtmpVideo, 300, make([]byte, 200)), append([]byte{0xc6}, make([]byte, 100)...)...)...))
	f.Add(append(rtmpChunk0(6, rtmpVideo, 300, make([]byte, 128)), rtmpChunk0(2, rtmpAbort, 4, []byte{0, 0, 0, 6})...))
	f.Add([]byte{4, 0xff, 0xff, 0xff, 0, 0, 1, 8, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0xc4, 1, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		chunks := newRTMPChunks(iotest.OneByteReader(bytes.NewReader(data))) // read no further than asked
		chunks.handshake = rtmpHandshake
		chunks.admitted()
		count := bytecounter.NewReader(chunks)
		library := rawmessage.NewReader(chunks, count, func(uint32) error { return nil })
		for {
			m, err := library.Read()
			if chunks.memory > maxRTMPPublishing+1<<24 {
				t.Fatalf("%d bytes", chunks.memory)
			}
			if err != nil {
				return
			}
			if chunks.have != 0 || chunks.body != 0 || chunks.current.received != 0 ||
				chunks.current.length != len(m.Body) || chunks.current.kind != m.Type {
				t.Fatalf("message %d of %d bytes: %+v", m.Type, len(m.Body), chunks.current)
			}
			if len(m.Body) != 4 {
				continue
			}
			value := binary.BigEndian.Uint32(m.Body)
			switch m.Type {
			case rtmpSetChunkSize:
				if library.SetChunkSize(value) != nil {
					return
				}
			case rtmpAbort:
				library.AbortChunkStream(value)
			}
		}
	})
}
