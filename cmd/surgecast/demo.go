package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// demoCmd runs a whole pool on this machine.
type demoCmd struct {
	Dir string        `help:"Folder for configurations, state and logs; it may be an earlier demo's. Default: a new temporary one." placeholder:"DIR"`
	For time.Duration `help:"End by itself this long after all is up, such as 30s. Default: at Ctrl-C." placeholder:"TIME"`
	TLS bool          `name:"tls" help:"Serve HTTPS too, with a throw-away certificate for 127.0.0.1 to 127.0.0.9 and live.surgecast.test."`
}

// Help is shown by --help.
func (*demoCmd) Help() string {
	return `An origin on 127.0.0.1, three relays on 127.0.0.2 to 127.0.0.4 as processes of
their own, a name server, and a clip that is pushed as an encoder would. It then
says what to try: push your own film, ask the DNS, add and kill relays.

	surgecast demo
	surgecast demo --dir ~/evening --for 30s`
}

// demo is a demo that runs.
type demo struct {
	demoPlan
	screen   *screen
	key      string // of the stream, for encoders
	children []*child
	stop     context.CancelFunc // of the feed and all that watches
	watching sync.WaitGroup
}

// Run runs the demo until ctx ends, or for as long as was asked.
func (c *demoCmd) Run(ctx context.Context, out io.Writer) error {
	if err := newDemoPlan(ctx, "", c.TLS).busyPorts(ctx); err != nil { // before anything is made
		return err
	}
	dir, err := c.folder()
	if err != nil {
		return err
	}
	d := &demo{demoPlan: newDemoPlan(ctx, dir, c.TLS), screen: newScreen(out)}
	if err := d.writeFiles(); err != nil {
		return err
	}
	if d.key, err = d.publishKey(); err != nil {
		return err
	}
	if err := os.MkdirAll(d.logs(), 0o700); err != nil {
		return fmt.Errorf("make folder for logs: %w", err)
	}
	d.screen.Print("\n%s   %s\n\n", d.screen.paint(bold, "surgecast demo"), "a whole pool on this machine; Ctrl-C ends it")
	d.screen.Print("    folder   %s\n", dir)
	ctx, d.stop = context.WithCancel(ctx)
	defer d.end()
	if err := d.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C while it came up
		}
		return err
	}
	d.explain()
	return d.watch(ctx, c.For)
}

// folder makes the folder of the demo.
func (c *demoCmd) folder() (string, error) {
	if c.Dir == "" {
		return os.MkdirTemp("", "surgecast-demo-")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", fmt.Errorf("--dir: %w", err)
	}
	return dir, os.MkdirAll(dir, 0o700)
}

func (d *demo) logs() string { return filepath.Join(d.Dir, "logs") }

// start brings the pool up, step by step, each waited for.
func (d *demo) start(ctx context.Context) error {
	if err := d.startNode(ctx, "origin", d.Origin); err != nil {
		return err
	}
	if err := d.startFeed(ctx); err != nil {
		return err
	}
	for _, place := range d.Relays {
		if err := d.startNode(ctx, "relay", place); err != nil {
			return err
		}
	}
	return d.screen.Step("dns", d.DNS.String(), "waiting for all relays to be named", func() (string, error) {
		return d.awaitDNS(ctx)
	})
}

// stepBound is how long a step may take; all take well under a second or two
// on an idle machine.
const stepBound = 20 * time.Second

// startNode starts a node and waits until it says that it is ready.
func (d *demo) startNode(ctx context.Context, role string, place demoPlace) error {
	return d.screen.Step(role, d.where(place), "starting", func() (string, error) {
		c, err := startChild(role, place, d.logs())
		if err != nil {
			return "", err
		}
		d.children = append(d.children, c)
		err = d.await(ctx, c, func(ctx context.Context) error {
			return getOK(ctx, d.url(place)+"/readyz")
		})
		return fmt.Sprintf("ready, process %d", c.PID()), err
	})
}

func (d *demo) where(place demoPlace) string {
	return netip.AddrPortFrom(place.Address, place.Viewers).String()
}

func (d *demo) url(place demoPlace) string { return "http://" + d.where(place) }

func (d *demo) secureURL(place demoPlace) string {
	return "https://" + netip.AddrPortFrom(place.Address, place.TLS).String()
}

// await asks again and again until a thing is so, the child (if any) ends, or
// time is up.
func (d *demo) await(ctx context.Context, c *child, ask func(ctx context.Context) error) error {
	bound := time.NewTimer(stepBound)
	defer bound.Stop()
	var ended chan struct{}
	if c != nil {
		ended = c.ended
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("%s %s (log: %s)", c.Name(), c.how(), c.Log)
		case <-bound.C:
			return fmt.Errorf("not so after %v: %w (logs: %s)", stepBound, err, d.logs())
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
}

// getOK asks a URL and is content with 200.
func getOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("%s answered %s: %s", url, response.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// publishURL is where an encoder pushes to.
func (d *demo) publishURL() string {
	return fmt.Sprintf("rtsp://publish:%s@%s/%s", d.key, d.RTSP, demoStream)
}

// otherWays are the ends of ffmpeg's line for the protocols beside RTSP.
func (d *demo) otherWays() string {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(d.RTSP.Addr(), port) }
	return strings.Join([]string{
		fmt.Sprintf("-f flv rtmp://%s/%s/%s", at(demoRTMPPort), demoStream, d.key),
		fmt.Sprintf("-f flv rtmps://%s/%s/%s", at(demoRTMPSPort), demoStream, d.key),
		fmt.Sprintf("-f mpegts 'srt://%s?streamid=publish:%s:%s'", at(demoSRTPort), demoStream, d.key),
		fmt.Sprintf("-f mpegts 'udp://%s?pkt_size=1316'", at(demoUDPPort)),
	}, "\n")
}

// obsFields are the two that OBS and most encoders ask for, by protocol. OBS
// pushes by no other.
func (d *demo) obsFields() string {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(d.RTSP.Addr(), port) }
	return strings.Join([]string{
		fmt.Sprintf("Server      rtmp://%s/%s (or rtmps://%s/%[2]s)", at(demoRTMPPort), demoStream, at(demoRTMPSPort)),
		fmt.Sprintf("Stream key  %s", d.key),
		fmt.Sprintf("Server      srt://%s?streamid=publish:%s:%s (no stream key)", at(demoSRTPort), demoStream, d.key),
	}, "\n")
}

func (d *demo) secureURLToPublish() string {
	return fmt.Sprintf("rtsps://publish:%s@%s/%s", d.key, d.RTSPS, demoStream)
}

// startFeed pushes the clip, and waits until the origin has it on air.
func (d *demo) startFeed(ctx context.Context) error {
	return d.screen.Step("feed", "rtsp "+d.RTSP.String(), "pushing the built-in clip", func() (string, error) {
		log, err := openLog(filepath.Join(d.logs(), "feed.log"))
		if err != nil {
			return "", err
		}
		d.watching.Go(func() {
			defer log.Close()
			d.keepFeeding(ctx, log)
		})
		err = d.await(ctx, nil, func(ctx context.Context) error {
			return getOK(ctx, d.url(d.Origin)+"/"+demoStream+"/index.m3u8")
		})
		return "stream " + demoStream + " on air", err
	})
}

// awaitDNS waits until the zone's name means all relays, as answers over time
// name each of them.
func (d *demo) awaitDNS(ctx context.Context) (string, error) {
	want := make(map[netip.Addr]bool)
	for _, place := range d.Relays {
		want[place.Address] = true
	}
	named := make(map[netip.Addr]bool)
	err := d.await(ctx, nil, func(ctx context.Context) error {
		answer, err := askDNS(ctx, d.DNS, demoZone)
		if err != nil {
			return err
		}
		for _, address := range answer {
			named[address] = want[address]
		}
		if len(named) < len(want) {
			return fmt.Errorf("%d of %d relays are named", len(named), len(want))
		}
		return nil
	})
	return demoZone + ", all named", err
}

// askDNS asks one name server for the IPv4 addresses of a name.
func askDNS(ctx context.Context, server netip.AddrPort, name string) ([]netip.Addr, error) {
	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, server.String())
		},
	}
	return resolver.LookupNetIP(ctx, "ip4", name+".")
}

// explain says what there is to see and to try.
func (d *demo) explain() {
	self := os.Args[0]
	s := d.screen
	s.Print("\n%s  %s\n", s.paint(bold, "Watch it"), s.paint(cyan, d.url(d.Relays[0])+"/"+demoStream+"/"))
	if d.Secure {
		s.Print("%s  %s  (browsers warn of its certificate, which is new)\n", s.paint(bold, " … HTTPS"), s.paint(cyan, d.secureURL(d.Relays[0])+"/"+demoStream+"/"))
	}
	s.Print("\n%s, in another terminal\n\n", s.paint(bold, "Three things to try"))
	s.Print("  1. Push a film or camera of your own; the newest publisher is on air:\n%s\n\n", indent(s.paint(cyan,
		"ffmpeg -re -stream_loop -1 -i FILE -c:v libx264 -preset veryfast -tune zerolatency \\\n"+
			"  -pix_fmt yuv420p -g 50 -c:a aac -ar 48000 -f rtsp -rtsp_transport tcp \\\n  "+d.publishURL()), 5))
	s.Print("     … the same by other protocols, in place of -f rtsp and what follows it:\n%s\n\n", indent(s.paint(cyan, d.otherWays()), 5))
	s.Print("     … or from OBS: Settings, Stream, Custom, with\n%s\n\n", indent(s.paint(cyan, d.obsFields()), 5))
	s.Print("     … or by RTSPS, in which the demo's certificate is trusted by nobody:\n%s\n\n", indent(s.paint(cyan,
		"-f rtsp -rtsp_transport tcp -tls_verify 0 "+d.secureURLToPublish()), 5))
	s.Print("  2. Ask the DNS where viewers are sent:\n%s\n\n", indent(s.paint(cyan,
		fmt.Sprintf("dig @%s -p %d %s", d.DNS.Addr(), d.DNS.Port(), demoZone)), 5))
	s.Print("  3. Add a clone and see it take its share; kill a relay and see it leave:\n%s\n\n", indent(s.paint(cyan,
		fmt.Sprintf("%s relay --config %s --address %s\n", self, d.Clone.Config, d.Clone.Address)+self+" status --dir "+d.Dir+"\n"+
			fmt.Sprintf("kill -9 %d", d.children[len(d.children)-1].PID())), 5))
	if d.Crowded {
		s.Print("%s\n\n", crowdedNote)
	}
}

const crowdedNote = `  This machine has no 127.0.0.2 (macOS: "sudo ifconfig lo0 alias 127.0.0.2" and so
  on adds them), so all relays share 127.0.0.1 on ports of their own. What is lost:
  DNS can't tell them apart, for it names addresses and not ports; and each relay
  needs its own configuration, where real clones share one.`

// watch tells what happens, until ctx ends or the time is over.
func (d *demo) watch(ctx context.Context, duration time.Duration) error {
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	for _, c := range d.children {
		d.watching.Go(func() { d.reportDeath(ctx, c) })
	}
	d.reportPool(ctx)
	return nil
}

// reportDeath says that a child has ended; the others go on.
func (d *demo) reportDeath(ctx context.Context, c *child) {
	select {
	case <-c.ended:
		d.screen.Event(red, "!", fmt.Sprintf("%s (process %d) %s; the others go on", c.Name(), c.PID(), c.how()))
	case <-ctx.Done(): // what ends from here on was told to
	}
}

// reportPool says which nodes come, change state and go, as the pool sees it.
func (d *demo) reportPool(ctx context.Context) {
	known := map[string]nodeStatus{}
	first := true
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if pool, err := d.pool(ctx); err == nil {
			d.reportChanges(known, pool, first)
			first = false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// pool asks any node for the view of the pool.
func (d *demo) pool(ctx context.Context) (*poolStatus, error) {
	found, err := findAPIs(d.Dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var status poolStatus
	return &status, askFirst(ctx, d.Dir, found, statusRequest, &status)
}

// reportChanges prints how the pool differs from known, and makes it known.
func (d *demo) reportChanges(known map[string]nodeStatus, pool *poolStatus, quiet bool) {
	now := map[string]bool{}
	for _, n := range pool.Nodes {
		now[n.Name] = true
		if before, ok := known[n.Name]; !quiet && (!ok || before.State != n.State) {
			d.screen.Event(green, "+", fmt.Sprintf("%s %s is %s", n.Role, n.Address, n.State))
		}
		known[n.Name] = n
	}
	for name, n := range known {
		if !now[name] {
			d.screen.Event(red, "-", fmt.Sprintf("%s %s has left the pool", n.Role, n.Address))
			delete(known, name)
		}
	}
}

// end ends all: what watches first, so that it reports nothing that is meant,
// then the relays, then the origin that they take leave of.
func (d *demo) end() {
	d.stop()
	d.watching.Wait()
	d.screen.Print("\n    ending %s …\n", count(len(d.children), "node"))
	var ending sync.WaitGroup
	for _, c := range d.children {
		if c.Role != "origin" {
			ending.Go(c.End)
		}
	}
	ending.Wait()
	for _, c := range d.children {
		if c.Role == "origin" {
			c.End()
		}
	}
	d.screen.Print("    ended; configurations, state and logs are in %s\n", d.Dir)
}

// keepFeeding pushes the clip until ctx ends. It makes room when somebody
// pushes a film of their own, and comes back when that one has left.
func (d *demo) keepFeeding(ctx context.Context, log io.Writer) {
	options := feedOptions{Logger: slog.New(slog.NewTextHandler(log, nil))}
	if err := feed(ctx, d.publishURL(), options); err != nil {
		d.screen.Event(red, "!", "the clip is off air: "+err.Error())
	}
}
