package main

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"surgecast/cluster"
	"surgecast/relay"
)

// crowd is a pool of equal relays, and viewers who reach it through three big
// resolvers. The relays, their answers, their loads and the DNS are the real
// ones; gossip is one view for all, in the steps in which loads are told.
type crowd struct {
	t        *testing.T
	rng      *rand.Rand
	steers   bool
	size     int              // viewers in the end
	members  []cluster.Member // the relays, as gossip tells of them
	relays   []*crowdRelay
	dns      *cluster.DNS
	resolver []*crowdResolver
	viewers  []*crowdViewer
	moves    int
}

type crowdRelay struct {
	base    string
	load    *relay.Load
	handler http.Handler
	viewers int
}

// crowdResolver gives everybody the answer that it keeps, in its order.
type crowdResolver struct {
	share  float64 // of the viewers; 0 of the rest asks by itself
	answer []netip.Addr
	until  time.Time
}

type crowdViewer struct {
	known    map[string]int // relays by pathway
	at       int
	manifest string // where it asks
	on       string
	next     time.Time
}

const (
	crowdRelays   = 8
	crowdJoins    = time.Minute // all come within it
	crowdCapacity = 1.25e9      // bit/s
	crowdZone     = "live.example.org."
)

// rate is each viewer's bit/s: the pool ends at 60 %.
func (c *crowd) rate() int64 { return int64(0.6*crowdRelays*crowdCapacity) / int64(c.size) }

// TestCrowdOfThreeResolvers: caching resolvers with normal TTLs carry 90 % of
// many joiners. Without steering each stays where DNS has sent it.
func TestCrowdOfThreeResolvers(t *testing.T) {
	t.Parallel()
	for _, steers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, steers)
			var atEnd float64
			for began := time.Now(); time.Since(began) < crowdJoins+time.Minute; time.Sleep(100 * time.Millisecond) {
				since := time.Since(began)
				due := min(c.size, int(since*time.Duration(c.size)/crowdJoins))
				for len(c.viewers) < due {
					c.join()
				}
				if since == crowdJoins {
					atEnd = c.imbalance()
				}
				if since%time.Second == 0 {
					c.second()
				}
				c.steer()
			}
			t.Logf("steering %v: max/mean %.2f when all have come, %.2f a minute later; %d moves by steering manifests", steers, atEnd, c.imbalance(), c.moves)
			if got := c.imbalance(); steers && got > 1.25 {
				t.Errorf("max/mean load %.2f of equal relays, want at most 1.25", got)
			} else if !steers && got < 1.3 {
				t.Errorf("max/mean load %.2f without steering: this crowd proves nothing", got)
			}
		})
	}
}

func newCrowd(t *testing.T, steers bool) *crowd {
	c := &crowd{t: t, steers: steers, size: sized(800, 2000), rng: rand.New(rand.NewPCG(2012, 90))}
	for _, share := range []float64{0.4, 0.3, 0.2, 0} {
		c.resolver = append(c.resolver, &crowdResolver{share: share})
	}
	for i := range crowdRelays {
		c.members = append(c.members, member(cluster.RoleRelay, cluster.StatusServing, storyRelay(i)+":8080", 0, crowdCapacity))
	}
	for i := range crowdRelays {
		c.relays = append(c.relays, c.newRelay(i))
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
func (c *crowd) newRelay(i int) *crowdRelay {
	config := defaultNodeConfig()
	s := &steering{
		node: &node{config: &config, role: cluster.RoleRelay}, rng: rand.New(rand.NewPCG(uint64(i), 7)),
		view: func() []cluster.Member {
			members := slices.Clone(c.members)
			members[i].Self = true
			return members
		},
	}
	r := &crowdRelay{base: storyBase(storyRelay(i)), load: relay.NewLoad()}
	store := relay.NewStore()
	store.Create("theatre", relay.DefaultConstants()).SetIndex(relay.MultivariantText([]relay.Variant{{Rendition: "main", Bandwidth: c.rate()}}))
	r.handler = relay.NewServer(relay.ServerConfig{
		Store: store, Load: relay.NewLoad(), Logger: slog.New(slog.DiscardHandler),
		Steering: relay.NewSteering(relay.SteeringConfig{
			Orders: s.orders, Priority: s.priority,
		}),
	})
	return r
}

// join brings one more viewer: DNS, multivariant playlist, first pathway.
func (c *crowd) join() {
	first := c.resolve()
	c.viewers = append(c.viewers, c.begin(first))
}

func (c *crowd) begin(first int) *crowdViewer {
	v := &crowdViewer{known: map[string]int{}, at: first, next: time.Now()}
	if c.steers {
		base := c.relays[first].base
		m := readMultivariant(c.get(base + "/theatre/index.m3u8"))
		for _, line := range m.variants {
			v.known[line.attributes["PATHWAY-ID"]] = c.relayAt(line.uri)
		}
		v.on = m.steering["PATHWAY-ID"]
		v.at, v.manifest = v.known[v.on], base+m.steering["SERVER-URI"]
	}
	c.relays[v.at].viewers++
	return v
}

// resolve returns the relay that a new viewer's resolver names first.
func (c *crowd) resolve() int {
	draw, r := c.rng.Float64(), c.resolver[len(c.resolver)-1]
	for _, one := range c.resolver {
		if draw -= one.share; draw < 0 {
			r = one
			break
		}
	}
	if r.share == 0 || !time.Now().Before(r.until) {
		r.ask(c)
	}
	return c.relayAt(storyBase(r.answer[0].String()))
}

func (r *crowdResolver) ask(c *crowd) {
	query, err := new(dns.Msg).SetQuestion(crowdZone, dns.TypeA).Pack()
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
		if err := json.Unmarshal([]byte(c.get(u.String())), &m); err != nil {
			c.t.Fatal(err)
		}
		v.next, v.manifest = time.Now().Add(time.Duration(m.TTL)*time.Second), m.Reload
		for _, id := range m.Priority {
			if to, known := v.known[id]; known {
				if to != v.at {
					c.relays[v.at].viewers--
					c.relays[to].viewers++
					c.moves++
				}
				v.at, v.on = to, id
				break
			}
		}
	}
}

// second lets the viewers be served, and the relays tell their loads.
func (c *crowd) second() {
	for i, r := range c.relays {
		r.load.Add(int64(r.viewers)*c.rate()/8, time.Duration(r.viewers)*time.Second)
		percent := loadPercent(r.load.Snapshot().BitsPerSecond, crowdCapacity)
		if change := percent - c.members[i].State.Load; change <= -loadStep || change >= loadStep {
			c.members = slices.Clone(c.members) // shared with readers
			c.members[i].State.Load = percent
		}
	}
}

func (c *crowd) get(address string) string {
	r := httptest.NewRequest(http.MethodGet, address, nil)
	w := httptest.NewRecorder()
	c.relays[c.relayAt(address)].handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		c.t.Fatalf("%s: %d", address, w.Code)
	}
	return w.Body.String()
}

func (c *crowd) relayAt(address string) int {
	u, err := url.Parse(address)
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.IndexFunc(c.relays, func(r *crowdRelay) bool { return r.base == storyBase(u.Hostname()) })
}

func (c *crowd) imbalance() float64 {
	most := 0
	for _, r := range c.relays {
		most = max(most, r.viewers)
	}
	return float64(most) / float64(c.size/crowdRelays)
}
