package cluster

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many packets one call takes from the kernel or gives to it.
// What waited while another thread had the core, 1 to 2 ms of 20,000 questions a
// second, then goes at once; more would let the first wait for the last.
const batchSize = 32

// batch is packets that came together, and their answers. It is used again and
// again by one goroutine, and nothing is allocated for a packet: senders stay as
// the kernel wrote them, to be sent back to.
type batch struct {
	in, out       [batchSize]unix.Mmsghdr
	inAt, outAt   [batchSize]unix.Iovec
	senders       [batchSize]unix.RawSockaddrInet6 // those of IPv4 are shorter
	queries       [batchSize][maxQueryBytes]byte
	room          [batchSize][udpBytes]byte // for answers
	arrived, told int                       // packets that came, and answers to them
}

func newBatch() *batch {
	b := &batch{}
	for i := range batchSize {
		b.inAt[i].Base = &b.queries[i][0]
		b.inAt[i].SetLen(maxQueryBytes)
		b.in[i].Hdr.Iov = &b.inAt[i]
		b.in[i].Hdr.SetIovlen(1)
		b.in[i].Hdr.Name = (*byte)(unsafe.Pointer(&b.senders[i]))
		b.out[i].Hdr.Iov = &b.outAt[i]
		b.out[i].Hdr.SetIovlen(1)
	}
	return b
}

// receive waits for a packet, and takes those that are there with it.
func (b *batch) receive(fd int) error {
	b.arrived, b.told = 0, 0
	for i := range b.in {
		b.in[i].Hdr.Namelen = unix.SizeofSockaddrInet6 // the kernel has put the real one there
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in)), batchSize, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return errno
	}
	b.arrived = int(n)
	return nil
}

// query returns a packet that came, and its sender.
func (b *batch) query(i int) ([]byte, netip.Addr) {
	sender := &b.senders[i]
	from := netip.AddrFrom16(sender.Addr)
	if sender.Family == unix.AF_INET {
		from = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sender)).Addr)
	}
	return b.queries[i][:b.in[i].Len], from
}

// reply puts an answer to a packet that came among those to be sent. It may be in
// the packet's room.
func (b *batch) reply(i int, answer []byte) {
	b.outAt[b.told].Base = unsafe.SliceData(answer)
	b.outAt[b.told].SetLen(len(answer))
	b.out[b.told].Hdr.Name, b.out[b.told].Hdr.Namelen = b.in[i].Hdr.Name, b.in[i].Hdr.Namelen
	b.told++
}

// send sends the answers. One that can't be sent is as one lost on the way.
func (b *batch) send(fd int) {
	for left := b.out[:b.told]; len(left) > 0; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&left[0])), uintptr(len(left)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			left = left[1:] // the error is of the first
		default:
			left = left[n:]
		}
	}
}
