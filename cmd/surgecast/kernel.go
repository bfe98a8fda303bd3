package main

import (
	"io/fs"
	"strconv"
	"strings"

	"surgecast/relay"
)

// advice is one setting of the machine that is not at its best for viewers.
type advice struct {
	Setting string
	Is      string
	Why     string
	Run     string // the command that sets it
}

// kernelAdvice looks at /proc/sys, and says what to change. What can't be read
// (another system, a container) is passed over.
func kernelAdvice(sys fs.FS) []advice {
	var found []advice
	try := func(setting string, good func(is string) bool, want, why, run string) {
		text, err := fs.ReadFile(sys, strings.ReplaceAll(setting, ".", "/"))
		is := strings.TrimSpace(string(text))
		if err != nil || good(is) {
			return
		}
		found = append(found, advice{setting, is, why, run + "sysctl -w " + setting + "=" + want})
	}
	equals := func(want string) func(string) bool { return func(is string) bool { return is == want } }

	try("net.ipv4.tcp_slow_start_after_idle", equals("0"), "0",
		"each part after a pause would start slowly, as on a new connection", "")
	try("net.ipv4.tcp_congestion_control", equals("bbr"), "bbr",
		"a lost packet on a mobile network would halve a viewer's rate", modprobe(sys))
	try("net.core.default_qdisc", func(is string) bool { return is == "fq" || is == "fq_codel" || is == "cake" }, "fq",
		"parts would leave in bursts; it holds for interfaces that come up later", "")
	try("net.core.somaxconn", func(is string) bool { n, err := strconv.Atoi(is); return err != nil || n >= leastBacklog }, strconv.Itoa(leastBacklog),
		"when many viewers come in one moment, some would wait a second or more", "")
	return found
}

// leastBacklog is Linux's default since 5.4.
const leastBacklog = 4096

// modprobe is what must be run before BBR can be chosen.
func modprobe(sys fs.FS) string {
	available, err := fs.ReadFile(sys, "net/ipv4/tcp_available_congestion_control")
	if err != nil || strings.Contains(string(available), "bbr") {
		return ""
	}
	return "modprobe tcp_bbr && "
}

// leastDescriptors is what a machine of any size should be allowed: 60,000
// connections, and room.
const leastDescriptors = 1 << 16

// descriptorAdvice says what to do about a low limit of file descriptors.
func descriptorAdvice(limit int) []advice {
	if limit >= leastDescriptors {
		return nil
	}
	return []advice{{
		"file descriptors (ulimit -n)", strconv.Itoa(limit), "each connection takes one",
		"systemctl edit surgecast, LimitNOFILE=1048576 under [Service]; in a shell: ulimit -n 1048576",
	}}
}

// advise writes a line for each setting of the machine that should be changed.
func (n *node) advise() {
	if n.env.Kernel == nil {
		return
	}
	for _, a := range append(kernelAdvice(n.env.Kernel), descriptorAdvice(relay.RaiseDescriptorLimit())...) {
		n.log.Info("advice", "setting", a.Setting, "is", a.Is, "why", a.Why, "run", a.Run)
	}
}
