package origin

import (
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listenLoopback keeps the sockets of test clients off the network.
func listenLoopback(network, address string) (net.PacketConn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return net.ListenPacket(network, net.JoinHostPort("127.0.0.1", port))
}
