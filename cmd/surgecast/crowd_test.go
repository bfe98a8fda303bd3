package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"surgecast/cluster"
	"surgecast/relay"
)

// crowd is a pool of equal relays, and viewers who reach it through three big
// resolvers. The relays' answers, their admission, their loads and the DNS are
// the real ones; gossip is one view for all, in the steps in which loads are told
// and late by two of its periods.
type crowd struct {
	t        *testing.T
	steers   SteerBy // "": viewers stay where DNS has sent them
	rng      *rand.Rand
	size     int              // viewers in the end
	members  []cluster.Member // the relays, as gossip tells of them
	told     []toldChange     // to come
	relays   []*crowdRelay
	dns      *cluster.DNS
	resolver []*crowdResolver
	viewers  []*crowdViewer
}

type toldChange struct {
	at     time.Time
	relay  int
	load   int
	status cluster.Status
}

type crowdRelay struct {
	host     string // of its pathway
	load     *relay.Load
	headroom *headroom
	handler  http.Handler
	viewers  int
	said     toldChange
}

// crowdResolver gives everybody the answer that it keeps, in its order.
type crowdResolver struct {
	share  float64 // of the viewers; 0 of the rest asks by itself
	answer []netip.Addr
	until  time.Time
}

type crowdViewer struct {
	resolver *crowdResolver
	known    map[string]int // relays by pathway
	at       int
	manifest string // where it asks
	on       string
	next     time.Time
	moves    int
}

const (
	crowdRelays   = 8
	crowdJoins    = time.Minute // all come within it
	crowdCapacity = 1.25e9      // bit/s
	crowdZone     = "live.example.org"
)

// rate is each viewer's bit/s: the pool ends at 60 %.
func (c *crowd) rate() int64 { return int64(0.6*crowdRelays*crowdCapacity) / int64(c.size) }

// crowdResult is what became of a crowd.
type crowdResult struct {
	joined, settled float64 // max/mean load when all have come, and a minute later
	moves, most     int     // by steering manifests: of all viewers, of one
}

func (r crowdResult) String() string {
	return fmt.Sprintf("max/mean %.2f when all have come, %.2f a minute later; %d moves, at most %d of a viewer", r.joined, r.settled, r.moves, r.most)
}

// TestCrowdOfThreeResolvers: caching resolvers with normal TTLs carry 90 % of
// many joiners. Without steering each stays where DNS has sent it.
func TestCrowdOfThreeResolvers(t *testing.T) {
	t.Parallel()
	seeds := 1
	if proving() {
		seeds = 50
	}
	for _, by := range []SteerBy{"", SteerAddresses, SteerNames} {
		var all []crowdResult
		for seed := range seeds {
			synctest.Test(t, func(t *testing.T) { all = append(all, newCrowd(t, by, uint64(seed)).run()) })
			r := all[seed]
			if seeds <= 5 {
				t.Logf("steering by %q, seed %d: %v", by, seed, r)
			}
			if by != "" && (r.joined > 1.25 || r.settled > 1.25) {
				t.Errorf("steering by %q, seed %d: max/mean load of equal relays at most 1.25 is wanted: %v", by, seed, r)
			} else if by == "" && r.settled < 1.3 {
				t.Errorf("seed %d without steering proves nothing: %v", seed, r)
			}
			if r.most > 3 || r.moves > sized(800, 2000)/5 {
				t.Errorf("steering by %q, seed %d: who watches is sent to and fro: %v", by, seed, r)
			}
		}
		t.Logf("steering by %q, %d seeds: max/mean when all have come %s, a minute later %s; moves %s, of one viewer at most %s", by, seeds,
			spread(all, "%.2f", func(r crowdResult) float64 { return r.joined }), spread(all, "%.2f", func(r crowdResult) float64 { return r.settled }),
			spread(all, "%.0f", func(r crowdResult) float64 { return float64(r.moves) }), spread(all, "%.0f", func(r crowdResult) float64 { return float64(r.most) }))
	}
}

// spread says least, median and most of a figure.
func spread(all []crowdResult, format string, of func(crowdResult) float64) string {
	var figures []float64
	for _, r := range all {
		figures = append(figures, of(r))
	}
	slices.Sort(figures)
	return fmt.Sprintf(format+" to "+format+", median "+format, figures[0], figures[len(figures)-1], figures[len(figures)/2])
}

func newCrowd(t *testing.T, by SteerBy, seed uint64) *crowd {
	c := &crowd{t: t, steers: by, size: sized(800, 2000), rng: rand.New(rand.NewPCG(2012, seed))}
	for _, share := range []float64{0.4, 0.3, 0.2, 0} {
		c.resolver = append(c.resolver, &crowdResolver{share: share})
	}
	for i := range crowdRelays {
		c.members = append(c.members, member(cluster.RoleRelay, cluster.StatusServing, storyRelay(i)+":8080", 0, crowdCapacity))
	}
	for i := range crowdRelays {
		c.relays = append(c.relays, c.newRelay(i, rand.New(rand.NewPCG(uint64(i), seed))))
	}
	var err error
	c.dns, err = cluster.NewDNS(cluster.DNSConfig{
		Zone: crowdZone, View: func() []cluster.Member { return c.members },
		NS: []cluster.NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.100")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newRelay serves what a relay of the pool would.
func (c *crowd) newRelay(i int, rng *rand.Rand) *crowdRelay {
	config := defaultNodeConfig()
	config.Zone, config.Steering, config.Capacity = crowdZone, c.steers, crowdCapacity
	r := &crowdRelay{host: storyRelay(i), load: relay.NewLoad()}
	if c.steers == SteerNames {
		r.host = cluster.RelayID(netip.MustParseAddr(r.host)) + "." + crowdZone
	}
	var err error
	if r.headroom, err = newHeadroom(&config, nodeOptions{}, c.t.TempDir(), r.load); err != nil {
		c.t.Fatal(err)
	}
	s := &steering{
		node: &node{config: &config, role: cluster.RoleRelay}, own: r.headroom.ownLoad, rng: rng,
		view: func() []cluster.Member { return c.viewOf(i) },
	}
	store := relay.NewStore()
	store.Create("theatre", relay.DefaultConstants()).SetIndex(relay.MultivariantText([]relay.Variant{{Rendition: "main", Bandwidth: c.rate()}}))
	r.handler = relay.NewServer(relay.ServerConfig{
		Store: store, Load: relay.NewLoad(), Logger: slog.New(slog.DiscardHandler),
		Admission: r.headroom.admission, Steering: relay.NewSteering(s.config()),
	})
	return r
}

func (c *crowd) viewOf(i int) []cluster.Member {
	members := slices.Clone(c.members)
	members[i].Self = true
	return members
}

func (c *crowd) run() (r crowdResult) {
	for began := time.Now(); time.Since(began) < crowdJoins+time.Minute; time.Sleep(100 * time.Millisecond) {
		since := time.Since(began)
		due := min(c.size, int(since*time.Duration(c.size)/crowdJoins))
		for len(c.viewers) < due {
			c.join()
		}
		if since == crowdJoins {
			r.joined = c.imbalance()
		}
		if since%time.Second == 0 {
			c.second()
		}
		c.gossip()
		c.steer()
	}
	r.settled = c.imbalance()
	for _, v := range c.viewers {
		r.moves += v.moves
		r.most = max(r.most, v.moves)
	}
	return r
}

// join brings one more viewer: DNS, multivariant playlist, first pathway.
func (c *crowd) join() {
	v := &crowdViewer{resolver: c.resolver[len(c.resolver)-1], known: map[string]int{}, next: time.Now()}
	draw := c.rng.Float64()
	for _, one := range c.resolver {
		if draw -= one.share; draw < 0 {
			v.resolver = one
			break
		}
	}
	v.at = v.resolver.resolve(c)
	if c.steers != "" {
		base := storyBase(c.relays[v.at].host)
		m := readMultivariant(c.get(v, base+"/theatre/index.m3u8"))
		for _, line := range m.variants {
			if id := line.attributes["PATHWAY-ID"]; id != poolPathway {
				v.known[id] = c.relayAt(v, line.uri)
			}
		}
		v.on = m.steering["PATHWAY-ID"]
		v.at, v.manifest = v.known[v.on], m.steering["SERVER-URI"]
		if strings.HasPrefix(v.manifest, "/") {
			v.manifest = base + v.manifest
		}
	}
	c.relays[v.at].viewers++
	c.viewers = append(c.viewers, v)
}

// resolve returns the relay that the pool's name leads to.
func (r *crowdResolver) resolve(c *crowd) int {
	if r.share == 0 || !time.Now().Before(r.until) {
		r.ask(c)
	}
	return slices.IndexFunc(c.members, func(m cluster.Member) bool { return m.PublicAddr() == r.answer[0] })
}

func (r *crowdResolver) ask(c *crowd) {
	query, err := new(dns.Msg).SetQuestion(crowdZone+".", dns.TypeA).Pack()
	if err != nil {
		c.t.Fatal(err)
	}
	var answer dns.Msg
	if err := answer.Unpack(c.dns.Respond(query, true)); err != nil || len(answer.Answer) == 0 {
		c.t.Fatalf("%v: %v", answer.Answer, err)
	}
	r.answer = nil
	for _, rr := range answer.Answer {
		addr, _ := netip.AddrFromSlice(rr.(*dns.A).A)
		r.answer = append(r.answer, addr.Unmap())
	}
	r.until = time.Now().Add(time.Duration(answer.Answer[0].Header().Ttl) * time.Second)
}

// steer lets the viewers whose time has come ask for the manifest, and follow it.
func (c *crowd) steer() {
	for _, v := range c.viewers {
		if v.manifest == "" || time.Now().Before(v.next) {
			continue
		}
		u, err := url.Parse(v.manifest)
		if err != nil {
			c.t.Fatal(err)
		}
		query := u.Query()
		query.Set("_HLS_pathway", v.on)
		u.RawQuery = query.Encode()
		var m steeringManifest
		if err := json.Unmarshal([]byte(c.get(v, u.String())), &m); err != nil {
			c.t.Fatal(err)
		}
		v.next = time.Now().Add(time.Duration(m.TTL) * time.Second)
		if m.Reload != "" {
			v.manifest = m.Reload
		}
		for _, id := range m.Priority {
			if to, known := v.known[id]; known {
				if to != v.at {
					c.relays[v.at].viewers--
					c.relays[to].viewers++
					v.moves++
				}
				v.at, v.on = to, id
				break
			}
		}
	}
}

// second lets the viewers be served, and the relays tell their loads.
func (c *crowd) second() {
	now := time.Now()
	for i, r := range c.relays {
		r.load.Add(int64(r.viewers)*c.rate()/8, time.Duration(r.viewers)*time.Second)
		g := r.headroom.look(now, c.members[i].Name, c.viewOf(i))
		status := cluster.StatusServing
		if g.Full {
			status = cluster.StatusFull
		}
		if status != c.members[i].State.Status || tellsLoad(g.Percent-r.said.load, now.Sub(r.said.at), crowdRelays+1) {
			r.said = toldChange{at: now, relay: i, load: g.Percent, status: status}
			c.told = append(c.told, r.said)
		}
	}
}

// gossip lets all know what was told two periods ago.
func (c *crowd) gossip() {
	for len(c.told) > 0 && time.Since(c.told[0].at) >= 2*gossipPeriod {
		c.members = slices.Clone(c.members) // shared with readers
		state := &c.members[c.told[0].relay].State
		state.Load, state.Status = c.told[0].load, c.told[0].status
		c.told = c.told[1:]
	}
}

// get returns what a relay answers a viewer.
func (c *crowd) get(v *crowdViewer, address string) string {
	r := httptest.NewRequest(http.MethodGet, address, nil)
	w := httptest.NewRecorder()
	c.relays[c.relayAt(v, address)].handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		c.t.Fatalf("%s: %d", address, w.Code)
	}
	return w.Body.String()
}

func (c *crowd) relayAt(v *crowdViewer, address string) int {
	u, err := url.Parse(address)
	if err != nil {
		c.t.Fatal(err)
	}
	if u.Hostname() == crowdZone {
		return v.resolver.resolve(c)
	}
	return slices.IndexFunc(c.relays, func(r *crowdRelay) bool { return r.host == u.Hostname() })
}

func (c *crowd) imbalance() float64 {
	most := 0
	for _, r := range c.relays {
		most = max(most, r.viewers)
	}
	return float64(most) / float64(c.size/crowdRelays)
}
