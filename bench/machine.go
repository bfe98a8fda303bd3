package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes what the figures were measured on. How TCP finds its rate is
// part of it: on loopback BBR's pacing costs timers, which doubles what a large
// body costs either server.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // unknown is an answer, too
	model := "unknown CPU"
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	congestion, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	return fmt.Sprintf("%s, %d cores, Linux %s, TCP %s", model, strings.Count(string(text), "processor\t"),
		strings.TrimSpace(string(release)), strings.TrimSpace(string(congestion)))
}

// usage is how much CPU time was used up to a moment.
type usage struct {
	at           time.Time
	machine, own time.Duration // own: this process's and its ended children's
	stolen       time.Duration // by the host, from cores that had work
}

func usageNow() (u usage, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	if u.machine, u.stolen, err = parseStat(string(text)); err != nil {
		return u, err
	}
	u.at, u.own = time.Now(), ownCPU()
	var children unix.Rusage
	err = unix.Getrusage(unix.RUSAGE_CHILDREN, &children)
	u.own += time.Duration(children.Utime.Nano() + children.Stime.Nano())
	return u, err
}

// others is how much everything else on the machine used between two moments,
// in cores: figures from a busy machine are worth less.
func (u usage) others(since usage) float64 {
	return max(0, float64((u.machine-since.machine)-(u.own-since.own))/float64(u.at.Sub(since.at)))
}

// lost is how much the host withheld between two moments, in cores.
func (u usage) lost(since usage) float64 {
	return float64(u.stolen-since.stolen) / float64(u.at.Sub(since.at))
}

// clockTick is the kernel's unit in /proc/stat.
const clockTick = 10 * time.Millisecond

// parseStat reads how long all cores together were at work, and how long they
// would have been but for the host: the first line, without idle and waiting for
// disks.
func parseStat(text string) (busy, stolen time.Duration, err error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("read /proc/stat: no line of all cores")
	}
	var ticks [8]int64 // user nice system idle iowait irq softirq steal
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[1+i], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		if i != 3 && i != 4 && i != 7 {
			busy += time.Duration(ticks[i]) * clockTick
		}
	}
	return busy, time.Duration(ticks[7]) * clockTick, nil
}
