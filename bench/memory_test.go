package main

import (
	"os"
	"testing"
)

func TestParseMemory(t *testing.T) {
	const status = "Name:\tx\nVmHWM:\t   4096 kB\nVmRSS:\t   2048 kB\n"
	if n, err := parseMemory(status, "VmRSS"); err != nil || n != 2<<20 {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := parseMemory(status, "VmHWM"); err != nil || n != 4<<20 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []string{"", "VmRSS:\tmuch\n"} {
		if _, err := parseMemory(bad, "VmRSS"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestParseSockstat(t *testing.T) {
	n, err := parseSockstat("sockets: used 2\nTCP: inuse 7 orphan 0 tw 4 alloc 9 mem 3\nUDP: inuse 1 mem 2\n")
	if err != nil || n != 3*int64(os.Getpagesize()) {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []string{"", "TCP: inuse 7\n", "TCP: inuse 7 mem x\n"} {
		if _, err := parseSockstat(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// The peak is what was there since it was forgotten, not since the start.
func TestPeak(t *testing.T) {
	const size = 64 << 20
	grown := make([]byte, size)
	for i := 0; i < len(grown); i += os.Getpagesize() {
		grown[i] = 1
	}
	high, err := peakBytes(os.Getpid())
	if err != nil || high < size {
		t.Fatalf("%d bytes at the peak, %v", high, err)
	}
	if err := forgetPeak(os.Getpid()); err != nil {
		t.Skipf("the kernel does not let the peak be forgotten: %v", err)
	}
	resident, err := residentBytes(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if peak, err := peakBytes(os.Getpid()); err != nil || peak < size || peak > resident+size/2 {
		t.Errorf("%d bytes are resident, the peak is %d, %v", resident, peak, err)
	}
	grown[0] = 2 // it lives until here
}
