package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// residentBytes is the memory of a process that is in RAM.
func residentBytes(pid int) (int64, error) { return memoryOf(pid, "VmRSS") }

// peakBytes is the most memory of a process that was in RAM since forgetPeak.
func peakBytes(pid int) (int64, error) { return memoryOf(pid, "VmHWM") }

// forgetPeak lets peakBytes begin anew.
func forgetPeak(pid int) error {
	// 5 is what resets the peak: proc_pid_clear_refs(5).
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5\n"), 0)
}

func memoryOf(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseMemory(string(text), field)
}

// parseMemory finds a field of a process's status that is in kB.
func parseMemory(status, field string) (int64, error) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, field+":")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", field, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("no %s in the status of the process", field)
}

// socketBytes is the memory that the kernel holds for all TCP sockets of the
// machine: it is in no process's.
func socketBytes() (int64, error) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	return parseSockstat(string(text))
}

// parseSockstat finds what TCP holds, which is in pages.
func parseSockstat(text string) (int64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "TCP:" || fields[len(fields)-2] != "mem" {
			continue
		}
		pages, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read sockstat: %w", err)
		}
		return pages * int64(os.Getpagesize()), nil
	}
	return 0, fmt.Errorf("read sockstat: no memory of TCP in %q", text)
}
