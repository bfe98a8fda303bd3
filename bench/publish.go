package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
)

// publishSettle is left out of what is measured: the origin waits a second for
// reports, and players' lists are short at first.
const publishSettle = 4 * time.Second

// publishEvent is a line of JSON that "bench publish" prints: steady when what is
// measured begins, ended with the results.
type publishEvent struct {
	Event         string
	BitsPerSecond float64 // of all streams, RTP payloads
	Parts         int     // listed while it measured
	P50, P99, Max float64 // ms from the packet that completes a part to its being listed
	Late          int     // parts listed more than lateListing after it
	BehindMS      float64 // by how much the load itself was behind its clock, at most
}

// lateListing is when a viewer at the live edge begins to feel it: half a part.
const lateListing = 100 * time.Millisecond

// publisher sends a clip by RTSP, keeping to the clock frame by frame, and asks
// for the list of it as a player does: so both clocks are one.
type publisher struct {
	film   *film
	url    string // with the stream's name
	list   string // "" : nobody asks
	bearer string
	from   netip.Addr
	fps    int

	began  time.Time
	sent   []atomic.Int64 // when the last packet of a picture was given to the kernel, nanoseconds since began; 0: not yet
	bytes  atomic.Int64
	behind atomic.Int64

	mu      sync.Mutex
	latency times
	late    int
}

// publishCommand is "bench publish".
func publishCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("publish", flag.ContinueOnError)
	url := flags.String("url", "", "where to push, without the stream's name: rtsp://publish:KEY@HOST:PORT")
	streams := flags.String("streams", "", "their names, with commas")
	clip := flags.String("clip", "", "H.264 as it stands in a file, without B-frames, one slice a picture")
	fps := flags.Int("fps", 30, "pictures a second")
	transport := flags.String("transport", "tcp", "tcp or udp")
	lists := flags.String("lists", "", "where to ask for the lists: http://HOST:PORT; none: nobody asks")
	bearer := flags.String("bearer", "", "what a node of the pool shows")
	lasting := flags.Duration("lasting", 10*time.Second, "how long it measures")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	f, err := readFilm(*clip)
	if err != nil {
		return err
	}
	names := strings.Split(*streams, ",")
	ctx, cancel := context.WithTimeout(ctx, publishSettle+*lasting)
	defer cancel()
	var all []*publisher
	var running sync.WaitGroup
	failed := make(chan error, 2*len(names))
	phases := rand.New(rand.NewPCG(1, 2))
	for i, name := range names {
		p := &publisher{film: f, url: *url + "/" + name, bearer: *bearer, from: sourceAddress(i), fps: *fps, sent: make([]atomic.Int64, int(publishSettle+*lasting)/int(time.Second)**fps+10**fps)}
		if *lists != "" {
			p.list = *lists + "/" + name + "/main/live.m3u8"
		}
		all = append(all, p)
		// Encoders send neither their pictures in step nor their key pictures, which
		// come each second here. Chance, but the same in each run.
		wait := time.Duration(phases.Int64N(int64(time.Second)))
		running.Go(func() { failed <- p.run(ctx, wait, *transport) })
		running.Go(func() { failed <- p.watch(ctx) })
	}
	if err := pauseOrFail(ctx, publishSettle, failed); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(publishEvent{Event: "steady"}); err != nil {
		return err
	}
	began, before := time.Now(), sentBytes(all)
	err = pauseOrFail(ctx, *lasting-200*time.Millisecond, failed)
	event := results(all)
	event.BitsPerSecond = float64(sentBytes(all)-before) * 8 / time.Since(began).Seconds()
	cancel()
	running.Wait()
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(event))
}

// pauseOrFail waits, or returns the first error.
func pauseOrFail(ctx context.Context, d time.Duration, failed <-chan error) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func sentBytes(all []*publisher) (n int64) {
	for _, p := range all {
		n += p.bytes.Load()
	}
	return n
}

func results(all []*publisher) publishEvent {
	event := publishEvent{Event: "ended"}
	var latency times
	for _, p := range all {
		p.mu.Lock()
		latency = append(latency, p.latency...)
		event.Late += p.late
		p.mu.Unlock()
		event.BehindMS = max(event.BehindMS, milliseconds(time.Duration(p.behind.Load())))
	}
	event.Parts = len(latency)
	event.P50, event.P99, event.Max = milliseconds(latency.quantile(0.5)), milliseconds(latency.quantile(0.99)), milliseconds(latency.quantile(1))
	return event
}

// run pushes until ctx ends.
func (p *publisher) run(ctx context.Context, wait time.Duration, transport string) error {
	u, err := base.ParseURL(p.url)
	if err != nil {
		return err
	}
	forma := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: p.film.sps, PPS: p.film.pps}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{forma}}
	client := p.client(transport)
	if err := client.StartRecording(u.String(), &description.Session{Medias: []*description.Media{media}}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer client.Close()
	encoder, err := forma.CreateEncoder()
	if err != nil {
		return err
	}
	if err := pause(ctx, wait); err != nil {
		return nil // it is over
	}
	p.began = time.Now()
	for n := range len(p.sent) {
		due := time.Duration(n) * time.Second / time.Duration(p.fps)
		if err := pause(ctx, due-time.Since(p.began)); err != nil {
			return nil
		}
		if due > publishSettle {
			p.behind.Store(max(p.behind.Load(), int64(time.Since(p.began)-due)))
		}
		if err := p.send(ctx, client, media, encoder, n); err != nil {
			return err
		}
	}
	return nil
}

// stamped is the connection of a publisher, which notes when a picture's last
// packet is given to the kernel: before that it has waited for us alone.
type stamped struct {
	net.Conn
	of *publisher
}

// Write is given one packet in its RTSP frame: $, channel, length, then RTP.
func (c stamped) Write(b []byte) (int, error) {
	const marker = 0x80
	if len(b) > 16 && b[0] == '$' && b[1] == 0 && b[5]&marker != 0 {
		n := (int(binary.BigEndian.Uint32(b[8:]))*c.of.fps + 45000) / 90000
		if n < len(c.of.sent) {
			c.of.sent[n].Store(int64(time.Since(c.of.began)))
		}
	}
	return c.Conn.Write(b)
}

// client is one whose queue holds a key picture of 4K, some hundred packets. By
// TCP each has an address of its own, for an origin takes few from one.
func (p *publisher) client(transport string) *gortsplib.Client {
	over := gortsplib.TransportTCP
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: p.from.AsSlice()}}
	if transport == "udp" { // whose packets come from where the system says
		over, dialer = gortsplib.TransportUDP, &net.Dialer{}
	}
	return &gortsplib.Client{
		Transport: &over, TLSConfig: anyCertificate(), WriteQueueSize: 4096,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			return stamped{conn, p}, err
		},
	}
}

// sendAtOnce is how many packets leave without a pause.
const sendAtOnce = 8

// send spreads a picture's packets over most of its time, as encoders do that shape
// their traffic: at once, a key picture of 4K is half a megabyte at the speed of
// memory, and what is measured is how the kernel passes that on.
func (p *publisher) send(ctx context.Context, client *gortsplib.Client, media *description.Media, encoder *rtph264.Encoder, n int) error {
	packets, err := encoder.Encode(p.film.pictures[n%len(p.film.pictures)])
	if err != nil {
		return err
	}
	begin := time.Duration(n) * time.Second / time.Duration(p.fps)
	for i, packet := range packets {
		if i%sendAtOnce == 0 {
			due := begin + time.Second/time.Duration(p.fps)*time.Duration(i)/time.Duration(len(packets))*9/10
			if pause(ctx, due-time.Since(p.began)) != nil {
				return nil // it is over
			}
		}
		packet.Timestamp = uint32(n * 90000 / p.fps)
		p.bytes.Add(int64(len(packet.Payload)))
		if err := client.WritePacketRTP(media, packet); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}
