package origin

import "testing"

func TestUnwrap(t *testing.T) {
	for _, c := range []struct {
		bits      uint
		in        []uint64
		extending []int64
	}{
		{
			32,
			[]uint64{0xfffffff0, 0x10, 0xfffffffe, 0x20, 0x7fffffff, 0xfffffffe, 1},
			[]int64{0xfffffff0, 0x100000010, 0xfffffffe, 0x100000020, 0x17fffffff, 0x1fffffffe, 0x200000001},
		},
		{
			33,
			[]uint64{0x1fffffff0, 0x10, 0x1fffffffe, 0x20, 0xffffffff, 0x1fffffffe},
			[]int64{0x1fffffff0, 0x200000010, 0x1fffffffe, 0x200000020, 0x2ffffffff, 0x3fffffffe},
		},
	} {
		u := unwrapper{bits: c.bits}
		for i, timestamp := range c.in {
			if got := u.take(timestamp); got != c.extending[i] {
				t.Errorf("%d bits, timestamp %d: %x instead of %x", c.bits, i, got, c.extending[i])
			}
		}
	}
}

// FuzzUnwrap: what comes out is the timestamp in its lower bits, and never
// farther than half the range from the one before.
func FuzzUnwrap(f *testing.F) {
	f.Add(false, uint64(0xfffffff0), uint64(5))
	f.Add(true, uint64(0x1fffffff0), uint64(1<<32))
	f.Fuzz(func(t *testing.T, ts bool, a, b uint64) {
		u := unwrapper{bits: 32}
		if ts {
			u.bits = 33
		}
		mask := uint64(1)<<u.bits - 1
		first := u.take(a & mask)
		second := u.take(b & mask)
		if uint64(second)&mask != b&mask {
			t.Errorf("%x became %x", b&mask, second)
		}
		if half := int64(1) << (u.bits - 1); second-first < -half || second-first >= half {
			t.Errorf("a step of %d", second-first)
		}
	})
}
