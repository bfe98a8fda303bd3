package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestKernelAdvice(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	sys := fstest.MapFS{
		"net/ipv4/tcp_slow_start_after_idle":        file("1"),
		"net/ipv4/tcp_congestion_control":           file("cubic"),
		"net/ipv4/tcp_available_congestion_control": file("reno cubic"),
		"net/core/default_qdisc":                    file("pfifo_fast"),
		"net/core/somaxconn":                        file("128"),
	}
	var run []string
	for _, a := range append(kernelAdvice(sys), descriptorAdvice(1024)...) {
		run = append(run, a.Run)
	}
	want := `sysctl -w net.ipv4.tcp_slow_start_after_idle=0
modprobe tcp_bbr && sysctl -w net.ipv4.tcp_congestion_control=bbr
sysctl -w net.core.default_qdisc=fq
sysctl -w net.core.somaxconn=4096
systemctl edit surgecast, LimitNOFILE=1048576 under [Service]; in a shell: ulimit -n 1048576`
	if got := strings.Join(run, "\n"); got != want {
		t.Errorf("got:\n%s", got)
	}

	good := fstest.MapFS{
		"net/ipv4/tcp_slow_start_after_idle": file("0"),
		"net/ipv4/tcp_congestion_control":    file("bbr"),
		"net/core/default_qdisc":             file("fq"),
		"net/core/somaxconn":                 file("65535"),
	}
	if got := append(kernelAdvice(good), descriptorAdvice(1<<20)...); len(got) != 0 {
		t.Errorf("a good machine is told %v", got)
	}
	if got := kernelAdvice(fstest.MapFS{}); len(got) != 0 {
		t.Errorf("where nothing can be read: %s", fmt.Sprint(got))
	}
}
