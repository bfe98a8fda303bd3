package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

// A figure of the comparison is the median of versusRuns. When a server is so
// quick that the load would be the bottleneck, both are asked over half as many
// connections, and so on. The first run must leave some room, since a later one
// that is busier means to begin anew.
const (
	versusRuns = 5
	leastConns = 1
	firstBusy  = maxBusy - 0.04
)

// versusSpec: two streams give the three sizes. One has parts of 125 kB and
// segments of 1.3 MB, the other a list of 1.5 kB.
var versusSpec = poolSpec{
	streams: []streamSpec{
		{name: "large", target: 2 * time.Second, part: 225 * time.Millisecond, film: largeClip},
		{name: "list", target: 2 * time.Second, part: time.Second, film: longClip},
	},
	window:  12 * time.Second,
	relayOn: serverCore,
}

// object is something that both servers are asked for.
type object struct {
	name string
	// path returns where it stands on the relay now, for it leaves the window.
	path  func(ctx context.Context) (string, error)
	conns int // over how many connections at once
	goals map[protocol]float64
}

var objects = []object{
	{"playlist 1.5 kB", listPath, 64, map[protocol]float64{plain: 0.75, secured: 0.8, h2: 1.1}},
	{"part 125 kB", partPath, 16, map[protocol]float64{plain: 0.95, secured: 0.85, h2: 1.0}},
	{"segment 1.3 MB", segmentPath, 16, map[protocol]float64{plain: 1.05, secured: 0.8, h2: 1.0}},
}

// line names the figure of an object over a protocol.
func (o object) line(over protocol) string { return o.name + ", " + string(over) }

func listPath(context.Context) (string, error) { return "/list/main/live.m3u8", nil }

// partPath is that of the listed part whose size is nearest to 125 kB, of the
// newest two dozen.
func partPath(ctx context.Context) (string, error) {
	const want = 125_000
	current, err := fetchList(ctx, relayURL, "/large/main/", "", "")
	if err != nil {
		return "", err
	}
	best, distance := "", math.MaxInt
	for _, uri := range current.newestParts(10) {
		body, _, err := fetch(ctx, relayURL+"/large/main/"+uri, "")
		if err != nil {
			return "", err
		}
		if d := max(len(body)-want, want-len(body)); d < distance {
			best, distance = "/large/main/"+uri, d
		}
	}
	if best == "" {
		return "", fmt.Errorf("the list has no part")
	}
	return best, nil
}

func segmentPath(ctx context.Context) (string, error) {
	current, err := fetchList(ctx, relayURL, "/large/main/", "", "")
	if err != nil {
		return "", err
	}
	uri := current.newestSegment()
	if uri == "" {
		return "", fmt.Errorf("the list has no segment")
	}
	return "/large/main/" + uri, nil
}

// versusNginx compares what a request costs with what it costs nginx, on the
// same bytes, in the same run, each on one core.
func versusNginx(ctx context.Context, s *session) ([]figure, error) {
	p, err := s.pool(ctx, versusSpec)
	if err != nil {
		return nil, err
	}
	n, err := startNginx(ctx, p.dir, nginxConfig)
	if err != nil {
		return nil, err
	}
	defer n.end()
	v := &versus{pool: p, nginx: n}
	if v.idle, err = share(ctx, p.relay.pid(), 3*time.Second); err != nil {
		return nil, err
	}
	var figures []figure
	for _, o := range objects {
		for _, over := range p.protocols() {
			if !s.wants(o.line(over)) {
				continue
			}
			f, err := v.compare(ctx, o, over)
			if err != nil {
				return nil, err
			}
			s.say(f)
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// versus is a comparison under way.
type versus struct {
	pool  *pool
	nginx *nginx
	idle  float64 // the share of a core that the relay uses with no viewer
	files int     // what nginx was given so far
}

// compare fills one line.
func (v *versus) compare(ctx context.Context, o object, over protocol) (figure, error) {
	f := figure{name: o.line(over), unit: "µs", goal: o.goals[over]}
	conns, size, busiest := o.conns, 0, 0.0
	for len(f.ours) < versusRuns {
		if err := v.pool.alive(); err != nil {
			return f, err
		}
		path, err := o.path(ctx)
		if err != nil {
			return f, err
		}
		file, length, err := v.copy(ctx, path)
		if err != nil {
			return f, err
		}
		most := maxBusy
		if len(f.ours) == 0 {
			most = firstBusy
		}
		ours, busy, err := v.cost(ctx, over, relayAddress(over)+path, v.pool.relay.pid(), v.idle, conns)
		if err != nil {
			return f, err
		}
		theirs, busyToo, err := v.cost(ctx, over, nginxAddress(over)+file, v.nginx.worker, 0, conns)
		if err != nil {
			return f, err
		}
		if max(busy, busyToo) > most && conns > leastConns {
			conns /= 2
			f.ours, f.nginx, busiest = nil, nil, 0
			continue
		}
		f.ours, f.nginx = append(f.ours, ours), append(f.nginx, theirs)
		size, busiest = length, max(busiest, busy, busyToo)
	}
	f.note = fmt.Sprintf("%d bytes, %d connections, load %.0f %% busy", size, conns, 100*busiest)
	if busiest > maxBusy {
		f.goal = noGoal
		f.note += ": void"
	}
	return f, nil
}

// copy gives nginx what the relay has, under a name that is new: nginx keeps
// open what it knows.
func (v *versus) copy(ctx context.Context, path string) (file string, size int, err error) {
	body, _, err := fetch(ctx, relayURL+path, "")
	if err != nil {
		return "", 0, err
	}
	v.files++
	file = fmt.Sprintf("/%d%s", v.files, path)
	return file, len(body), v.nginx.put(file, body)
}

// cost measures a server's CPU time for one request, in microseconds.
func (v *versus) cost(ctx context.Context, over protocol, address string, pid int, idle float64, conns int) (cost, busy float64, err error) {
	before, began, err := cpuNow(pid)
	if err != nil {
		return 0, 0, err
	}
	a, err := load(ctx, over, address, conns)
	if err != nil {
		return 0, 0, err
	}
	// What closing the connections costs belongs to the run.
	if err := pause(ctx, 20*time.Millisecond); err != nil {
		return 0, 0, err
	}
	after, ended, err := cpuNow(pid)
	if err != nil {
		return 0, 0, err
	}
	spent := float64(after-before) - idle*float64(ended.Sub(began))
	return spent / 1e3 / float64(a.requests), a.busy, nil
}

func cpuNow(pid int) (time.Duration, time.Time, error) {
	spent, err := cpuTime(pid)
	return spent, time.Now(), err
}

// share is how much of a core a process uses, watched for a while.
func share(ctx context.Context, pid int, watch time.Duration) (float64, error) {
	before, began, err := cpuNow(pid)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, watch); err != nil {
		return 0, err
	}
	after, ended, err := cpuNow(pid)
	return float64(after-before) / float64(ended.Sub(began)), err
}

// relayAddress and nginxAddress are where a protocol is spoken.
func relayAddress(over protocol) string {
	if over == plain {
		return relayURL
	}
	return secureRelayURL
}

func nginxAddress(over protocol) string {
	switch over {
	case plain:
		return "http://" + nginxHost + ":" + viewerPort
	case secured:
		return "https://" + nginxHost + ":" + nginxSecurePort
	}
	return "https://" + nginxHost + ":" + nginxH2Port
}
