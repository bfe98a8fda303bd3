package origin

import (
	"net"
	"time"

	srt "github.com/datarhei/gosrt"
	"golang.org/x/sys/unix"
)

// tcpLine asks the kernel about a connection of ours. It sends little to the
// encoder, so the round trip is that of the handshake until something is
// acknowledged. nil where the kernel can't be asked.
func tcpLine(conn net.Conn) func() lineHealth {
	pending, ok := pendingOf(conn)
	if !ok {
		return nil
	}
	tcp, ok := pending.Conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return func() (line lineHealth) {
		_ = raw.Control(func(fd uintptr) { // a closed connection has no round trip
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				line.rtt = time.Duration(info.Rtt) * time.Microsecond
			}
		})
		return line
	}
}

// srtLine asks the library, which measures with each acknowledgement.
func srtLine(conn srt.Conn) func() lineHealth {
	return func() lineHealth {
		var all srt.Statistics
		conn.Stats(&all)
		return lineHealth{
			rtt:     time.Duration(all.Instantaneous.MsRTT * float64(time.Millisecond)),
			resent:  int64(all.Accumulated.PktRecvLoss),
			dropped: int64(all.Accumulated.PktRecvDrop),
		}
	}
}
