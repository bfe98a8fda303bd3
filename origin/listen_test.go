package origin

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"
)

// The client half of the SRT library, which tests alone use, leaves a goroutine
// behind for a call that was refused.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/datarhei/gosrt.Dial.func1"))
}

// runUntilEnd runs a server until the test ends.
func runUntilEnd(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// listenLoopback keeps the sockets of test clients off the network.
func listenLoopback(network, address string) (net.PacketConn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return net.ListenPacket(network, net.JoinHostPort("127.0.0.1", port))
}
