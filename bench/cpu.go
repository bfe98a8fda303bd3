package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Each figure is the median of these runs.
const (
	cpuRuns     = 5
	cpuRequests = 20_000 // a run, over cpuConns connections
	cpuConns    = 8
)

// playlistCPU measures a relay's CPU time for one plain GET of the media
// playlist.
func playlistCPU(ctx context.Context, p *pool) ([]figure, error) {
	return p.requestCPU(ctx, "cpu-playlist", func(context.Context) (string, error) { return rendition + "live.m3u8", nil })
}

// partCPU measures a relay's CPU time for one GET of the newest part.
func partCPU(ctx context.Context, p *pool) ([]figure, error) {
	return p.requestCPU(ctx, "cpu-part", func(ctx context.Context) (string, error) {
		list, err := fetchList(ctx, relayURL, "", "")
		if err != nil {
			return "", err
		}
		part := list.newestPart()
		if part == "" {
			return "", errors.New("the list has no part")
		}
		return rendition + part, nil
	})
}

// requestCPU asks the relay for one path many times, in several runs, and
// counts the CPU time of its process beyond what it spends on following.
func (p *pool) requestCPU(ctx context.Context, name string, choose func(context.Context) (string, error)) ([]figure, error) {
	idle, err := p.idleCPU(ctx)
	if err != nil {
		return nil, err
	}
	var costs []float64
	var size int64
	for range cpuRuns {
		path, err := choose(ctx)
		if err != nil {
			return nil, err
		}
		before, began := p.relayCPU(), time.Now()
		if size, err = hammer(ctx, path); err != nil {
			return nil, err
		}
		spent := p.relayCPU() - before - time.Duration(idle*float64(time.Since(began)))
		costs = append(costs, float64(spent.Nanoseconds())/1e3/cpuRequests)
	}
	slices.Sort(costs)
	return []figure{{name, costs[len(costs)/2], "µs of CPU a request", fmt.Sprintf(
		"%.1f to %.1f in %d runs of %d requests, %d bytes each, cleartext HTTP/1.1", costs[0], costs[len(costs)-1], cpuRuns, cpuRequests, size)}}, nil
}

// idleCPU returns the share of a core that the relay uses with no viewer.
func (p *pool) idleCPU(ctx context.Context) (float64, error) {
	before, began := p.relayCPU(), time.Now()
	if err := pause(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	return float64(p.relayCPU()-before) / float64(time.Since(began)), nil
}

// relayCPU returns the CPU time that the relay has used so far: of all its
// threads, in nanoseconds by the scheduler's own count.
func (p *pool) relayCPU() time.Duration {
	dir := fmt.Sprintf("/proc/%d/task", p.relayPID)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var total time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(dir + "/" + thread.Name() + "/schedstat")
		if err != nil {
			continue
		}
		running, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(running, 10, 64)
		total += time.Duration(n)
	}
	return total
}

// hammer gets a path of the relay cpuRequests times and returns the size of its
// body. The client is as thin as can be: it shares the cores with the relay.
func hammer(ctx context.Context, path string) (int64, error) {
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + relayIP + "\r\n\r\n")
	sizes := make([]int64, cpuConns)
	group, ctx := errgroup.WithContext(ctx)
	for i := range cpuConns {
		group.Go(func() (err error) {
			sizes[i], err = hammerOne(ctx, request)
			return err
		})
	}
	err := group.Wait()
	return sizes[0], err
}

func hammerOne(ctx context.Context, request []byte) (size int64, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", relayIP+":8080")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 64<<10)
	for range cpuRequests / cpuConns {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if _, err := conn.Write(request); err != nil {
			return 0, err
		}
		if size, err = discardAnswer(reader); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// discardAnswer reads one answer of 200 with a Content-Length.
func discardAnswer(r *bufio.Reader) (int64, error) {
	size := int64(-1)
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		text := string(line)
		if n == 0 && !strings.HasPrefix(text, "HTTP/1.1 200") {
			return 0, fmt.Errorf("the relay answered %q", strings.TrimSpace(text))
		}
		if value, ok := strings.CutPrefix(text, "Content-Length: "); ok {
			if size, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				return 0, err
			}
		}
		if text == "\r\n" {
			break
		}
	}
	if size < 0 {
		return 0, errors.New("an answer without Content-Length")
	}
	_, err := io.CopyN(io.Discard, r, size)
	return size, err
}
