package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"surgecast/relay"
)

// machineViewer plays at the live edge from a machine, as hls.js does: DNS leads
// it to a relay, it holds a blocking reload, loads part after part, asks for
// the steering manifest and follows it, and goes on at another pathway when its
// relay fails it. It plays PART-HOLD-BACK behind the list's end, so it stalls
// where a real player would.
type machineViewer struct {
	resolve func() ([]string, error)
	client  *http.Client

	base     string            // of the relay that it is at; "": it has to find one
	on       string            // that pathway
	pathways map[string]string // base URLs by id
	list     string            // path of the media playlist
	init     string

	steering  string // URL of the manifest
	steerNext time.Time
	steered   chan steered // nil while none is asked for

	tuned bool
	msn   uint64 // the part to load
	part  int
	picture
	lost time.Time // since when there is no picture, for it has to tune in anew
	seen viewerTally
}

// steered is the answer of a steering server.
type steered struct {
	manifest steeringManifest
	err      error
}

// viewerTally is what one or more viewers went through.
type viewerTally struct {
	joined  int
	stalls  int
	stalled time.Duration
	worst   time.Duration  // of the stalls
	stood   []stall        // each
	skipped int            // times that what came next had left the list
	parts   map[string]int // by relay
	faults  map[string]int
}

// stall is a time for which a picture stood still.
type stall struct {
	until time.Time
	lasts time.Duration
}

// picture is what is shown of the media that are here. It stands still when
// there are no more, and goes on from there.
type picture struct {
	began time.Time     // when it would have begun, had it never stood still
	media time.Duration // from there
}

// stood is for how long the picture has stood still by now.
func (p *picture) stood(now time.Time) time.Duration {
	if p.began.IsZero() {
		return 0
	}
	return max(now.Sub(p.began)-p.media, 0)
}

// viewerPatience is how long a viewer waits for any answer: longer than a
// blocking reload is held while all is well.
const viewerPatience = 2 * time.Second

func (m *machines) newViewer(at int, server string) *machineViewer {
	conn := m.dial(at, server)
	return &machineViewer{
		resolve: func() ([]string, error) { return m.answers(conn) },
		client: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return m.dialFrom(ctx, at, network, address)
		}}},
		seen: viewerTally{parts: map[string]int{}, faults: map[string]int{}},
	}
}

// watch plays until ctx ends.
func (v *machineViewer) watch(ctx context.Context) {
	defer v.client.CloseIdleConnections()
	defer func() {
		if v.steered != nil {
			<-v.steered
		}
	}()
	for ctx.Err() == nil {
		err := v.step(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		v.seen.faults[faultOf(err)]++
		v.elsewhere()
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	v.stand(time.Now())
	v.found(time.Now())
}

// faultOf is the fault without what makes each one different.
func faultOf(err error) string {
	if wrong := (*wrongAnswer)(nil); errors.As(err, &wrong) {
		u, _ := url.Parse(wrong.url)
		return fmt.Sprintf("%d for %s", wrong.status, strings.TrimLeft(path.Ext(u.Path), "."))
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.Is(err, errNoRelay):
		return errNoRelay.Error()
	}
	if opErr := (*net.OpError)(nil); errors.As(err, &opErr) {
		return opErr.Op + ": " + opErr.Err.Error()
	}
	return err.Error()
}

var errNoRelay = errors.New("no relay in the DNS")

// step takes what comes next.
func (v *machineViewer) step(ctx context.Context) error {
	if v.base == "" {
		return v.join(ctx)
	}
	v.follow(ctx)
	query := ""
	if v.tuned {
		query = fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", v.msn, v.part)
	}
	text, err := v.get(ctx, v.base+v.list+query)
	if err != nil {
		return err
	}
	p, err := relay.ParsePlaylist(text)
	if err != nil {
		return err
	}
	if !v.tuned || !listsPart(p, v.msn, v.part) {
		return v.tune(ctx, p)
	}
	return v.load(ctx, p)
}

// join begins, or begins anew, at a relay of the DNS.
func (v *machineViewer) join(ctx context.Context) error {
	addresses, err := v.resolve()
	if err != nil {
		return err
	}
	if len(addresses) == 0 {
		return errNoRelay
	}
	for _, address := range addresses {
		if err = v.open(ctx, fmt.Sprintf("http://%s:%d/theatre/index.m3u8", address, defaultViewerPort)); err == nil {
			return nil
		}
	}
	return err
}

// open reads the multivariant playlist of a relay, or of where that sends it.
func (v *machineViewer) open(ctx context.Context, index string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, index, nil)
	if err != nil {
		return err
	}
	text, at, err := v.do(request)
	if err != nil {
		return err
	}
	m := readMultivariant(string(text))
	if len(m.variants) == 0 {
		return fmt.Errorf("no variant in\n%s", text)
	}
	v.pathways = map[string]string{}
	for _, one := range m.variants {
		u, err := at.Parse(one.uri)
		if err != nil {
			return err
		}
		v.pathways[one.attributes["PATHWAY-ID"]] = "http://" + u.Host
		v.list = u.Path
	}
	v.on, v.steering = m.steering["PATHWAY-ID"], ""
	v.base = v.pathways[v.on]
	if uri := m.steering["SERVER-URI"]; uri != "" {
		server, err := at.Parse(uri)
		if err != nil {
			return err
		}
		v.steering = server.String()
	}
	return nil
}

// follow asks for the steering manifest when its time has come, beside playing,
// and does as the last one says. One that does not come is asked for later.
func (v *machineViewer) follow(ctx context.Context) {
	select {
	case s := <-v.steered:
		v.steered = nil
		v.obey(s)
	default:
	}
	if v.steering == "" || v.steered != nil || time.Now().Before(v.steerNext) {
		return
	}
	v.steerNext = time.Now().Add(5 * time.Second)
	v.steered = make(chan steered, 1)
	go v.askSteering(ctx, v.steered, v.steering+"&_HLS_pathway="+v.on)
}

func (v *machineViewer) askSteering(ctx context.Context, to chan<- steered, address string) {
	var s steered
	text, err := v.get(ctx, address)
	if s.err = err; err == nil {
		s.err = json.Unmarshal(text, &s.manifest)
	}
	to <- s
}

func (v *machineViewer) obey(s steered) {
	if s.err != nil {
		v.seen.faults["steering: "+faultOf(s.err)]++
		return
	}
	v.steerNext = time.Now().Add(time.Duration(s.manifest.TTL) * time.Second)
	if s.manifest.Reload != "" { // absolute where relays are named by address
		v.steering = s.manifest.Reload
	}
	for _, id := range s.manifest.Priority {
		if base := v.pathways[id]; base != "" {
			v.on, v.base = id, base
			return
		}
	}
}

// elsewhere leaves a relay for another pathway or, when there is none left, for
// what the DNS has.
func (v *machineViewer) elsewhere() {
	delete(v.pathways, v.on)
	v.on, v.base = "", ""
	for id, base := range v.pathways { // in random order
		v.on, v.base = id, base
		break
	}
}

// listsPart tells whether a list has a part.
func listsPart(p *relay.Playlist, msn uint64, part int) bool {
	switch open := p.OpenSequence(); {
	case msn < p.MediaSequence || msn > open:
		return false
	case msn == open:
		return part < len(p.Open.Parts)
	}
	// One past the end of a segment is the first of the next.
	return len(p.Segments[msn-p.MediaSequence].Parts) > 0
}

// tune begins at the live edge: with the key picture before PART-HOLD-BACK from
// the end, from where it shows what follows.
func (v *machineViewer) tune(ctx context.Context, p *relay.Playlist) error {
	if v.tuned {
		v.stand(time.Now())
		v.tuned, v.lost = false, time.Now()
		v.seen.skipped++
	}
	v.msn, v.part = p.OpenSequence(), 0
	behind := time.Duration(0)
	for _, part := range p.Open.Parts {
		behind += part.Duration
	}
	if behind < p.PartHoldBack && len(p.Segments) > 0 {
		v.msn--
	}
	v.picture = picture{}
	if err := v.load(ctx, p); err != nil {
		return err
	}
	if v.lost.IsZero() {
		v.seen.joined++
	}
	now := time.Now()
	v.found(now)
	v.tuned, v.picture = true, picture{began: now, media: p.PartHoldBack}
	return nil
}

// found ends the time without a picture.
func (v *machineViewer) found(now time.Time) {
	if !v.lost.IsZero() {
		v.stalled(now.Sub(v.lost))
		v.lost = time.Time{}
	}
}

// load gets all parts of a list from the one that comes next.
func (v *machineViewer) load(ctx context.Context, p *relay.Playlist) error {
	folder := path.Dir(v.list) + "/"
	if init := p.Open.Map.String(); init != v.init {
		if _, err := v.get(ctx, v.base+folder+init); err != nil {
			return err
		}
		v.init = init
	}
	for {
		parts := p.Open.Parts
		if v.msn < p.OpenSequence() {
			parts = p.Segments[v.msn-p.MediaSequence].Parts
			if v.part >= len(parts) {
				v.msn, v.part = v.msn+1, 0
				continue
			}
		}
		if v.part >= len(parts) {
			return nil
		}
		if _, err := v.get(ctx, v.base+folder+parts[v.part].Name.String()); err != nil {
			return err
		}
		v.stand(time.Now())
		v.media += parts[v.part].Duration
		v.seen.parts[strings.TrimPrefix(v.base, "http://")]++
		v.part++
	}
}

// stand counts for how long the picture stood still, if it did, and lets it go
// on.
func (v *machineViewer) stand(now time.Time) {
	if stood := v.stood(now); stood > 0 {
		v.stalled(stood)
		v.began = v.began.Add(stood)
	}
}

func (v *machineViewer) stalled(stood time.Duration) {
	v.seen.stalls++
	v.seen.stalled += stood
	v.seen.worst = max(v.seen.worst, stood)
	v.seen.stood = append(v.seen.stood, stall{time.Now(), stood})
}

// get asks a relay; the answer must be 200.
func (v *machineViewer) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	text, _, err := v.do(request)
	return text, err
}

// do returns the answer, and the URL that gave it.
func (v *machineViewer) do(request *http.Request) ([]byte, *url.URL, error) {
	ctx, cancel := context.WithTimeout(request.Context(), viewerPatience)
	defer cancel()
	response, err := v.client.Do(request.WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = &wrongAnswer{response.Request.URL.String(), response.StatusCode}
	}
	return body, response.Request.URL, err
}

// crowdAt is viewers on a machine.
type crowdAt struct {
	m       *machines
	at      int
	server  string // ip:port of their name server
	ctx     context.Context
	leave   context.CancelFunc
	wait    sync.WaitGroup
	viewers []*machineViewer
}

func (m *machines) newCrowd(at int, server string) *crowdAt {
	c := &crowdAt{m: m, at: at, server: server}
	c.ctx, c.leave = context.WithCancel(m.t.Context())
	m.t.Cleanup(func() { c.leave(); c.wait.Wait() })
	return c
}

// join brings n viewers.
func (c *crowdAt) join(n int) {
	for range n {
		v := c.m.newViewer(c.at, c.server)
		c.viewers = append(c.viewers, v)
		c.wait.Go(func() { v.watch(c.ctx) })
	}
}

// end lets all leave, and returns what they went through.
func (c *crowdAt) end() viewerTally {
	c.leave()
	c.wait.Wait()
	all := viewerTally{parts: map[string]int{}, faults: map[string]int{}}
	for _, v := range c.viewers {
		all.joined += v.seen.joined
		all.stalls += v.seen.stalls
		all.stalled += v.seen.stalled
		all.worst = max(all.worst, v.seen.worst)
		all.stood = append(all.stood, v.seen.stood...)
		all.skipped += v.seen.skipped
		for relay, n := range v.seen.parts {
			all.parts[relay] += n
		}
		for fault, n := range v.seen.faults {
			all.faults[fault] += n
		}
	}
	return all
}

func (t viewerTally) String() string {
	least, most := 0, 0
	for _, n := range t.parts {
		most = max(most, n)
		if least == 0 || n < least {
			least = n
		}
	}
	return fmt.Sprintf("%d viewers joined, %d stalls of %v in all (worst %v), %d skips, faults %v, %d to %d parts from each of %d relays",
		t.joined, t.stalls, t.stalled.Round(time.Millisecond), t.worst.Round(time.Millisecond), t.skipped, t.faults, least, most, len(t.parts))
}
