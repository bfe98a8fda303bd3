package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// core is a set of CPUs as taskset names it; "" is any.
type core string

// What is measured has a core of its own, all else shares the other: then the
// load takes nothing from the server but the memory's bandwidth.
const (
	serverCore core = "0"
	loadCore   core = "1"
	anyCore    core = ""
)

// process is a program that this one started.
type process struct {
	name    string
	command *exec.Cmd
	log     string        // file with what it said
	ended   chan struct{} // closed when it has ended
}

// startProcess starts a program on a core, what it says goes to a log in dir.
func startProcess(dir, name string, on core, program string, arguments ...string) (*process, error) {
	if _, err := exec.LookPath("taskset"); on != anyCore && err == nil {
		arguments = append([]string{"-c", string(on), program}, arguments...)
		program = "taskset"
	}
	p := &process{name: name, command: exec.Command(program, arguments...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	p.command.Stdout, p.command.Stderr = log, log
	// Ctrl-C ends the bench, and the bench its children, in order.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process
		_ = p.command.Wait() // how it ended is in its log
		close(p.ended)
	}()
	return p, nil
}

// pid is the process's id: taskset becomes the program that it starts.
func (p *process) pid() int { return p.command.Process.Pid }

// endBound is longer than a node takes to drain and leave.
const endBound = 8 * time.Second

// end asks the process to end; one that does not is killed.
func (p *process) end() {
	if p == nil {
		return
	}
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(endBound):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// alive returns an error with its last words if the process has ended.
func (p *process) alive() error {
	select {
	case <-p.ended:
		text, _ := os.ReadFile(p.log) // best effort: the error stands without it
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%s ended: %s", p.name, lines[len(lines)-1])
	default:
		return nil
	}
}

// cpuTime is the CPU time that the threads of a process have used so far, in
// nanoseconds by the scheduler's own count. Threads of Go do not end by
// themselves, so none is missed.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read CPU time: no process %d", pid)
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that has just ended
		}
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		running, err := parseSchedstat(string(text))
		if err != nil {
			return 0, err
		}
		total += running
	}
	return total, nil
}

// parseSchedstat reads the time on a CPU, the first of three numbers.
func parseSchedstat(text string) (time.Duration, error) {
	running, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.ParseUint(running, 10, 62)
	if err != nil {
		return 0, fmt.Errorf("read schedstat: %q", text)
	}
	return time.Duration(n), nil
}
