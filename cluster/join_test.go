package cluster

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A node that stays alone says of each seed what to look at.
func TestWhyAJoinFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		text := &lockedWriter{to: new(strings.Builder)}
		v.start(1, "46")
		v.net.Host(address(3)) // is up, and nothing listens there
		v.start(2, "4", func(c *Config) {
			c.Secret = []byte("another secret, also long enough")
			c.Logger = slog.New(slog.NewTextHandler(text, nil))
			c.Seeds = []string{"10.0.0.1:7946", "10.0.0.3:7946", "10.9.9.9:7946", "10.9.9.10:7946", "[2001:db8::1]:7946"}
		})
		time.Sleep(10 * time.Second)
		var said []string
		for line := range strings.Lines(text.String()) {
			if strings.Contains(line, "alone:") {
				said = append(said, line)
			}
		}
		if len(said) != 1 {
			t.Fatalf("it is said %d times:\n%s", len(said), text.String())
		}
		for _, want := range []string{
			"10.0.0.1:7946: another secret: is the pool's secret the same",
			"10.0.0.3:7946: it refuses: is the node up",
			"10.9.9.10:7946, 10.9.9.9:7946: no answer: is it up",
			"[2001:db8::1]:7946: no way there by IPv6: this node has IPv4 alone",
		} {
			if !strings.Contains(said[0], want) {
				t.Errorf("it is not said that %s:\n%s", want, said[0])
			}
		}
	})
}
