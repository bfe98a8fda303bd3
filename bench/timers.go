package main

import (
	"container/heap"
	"time"
)

// timers are what is to be done later, the next first. The zero value is
// empty.
type timers struct{ queue timerQueue }

type timer struct {
	at time.Time
	do func()
}

func (t *timers) add(at time.Time, do func()) { heap.Push(&t.queue, timer{at, do}) }

// idleWait is how long a loop waits with nothing to do later, in milliseconds:
// it then looks whether it should end.
const idleWait = 50

// wait is how many milliseconds there are until the next.
func (t *timers) wait(now time.Time) int {
	if len(t.queue) == 0 {
		return idleWait
	}
	left := t.queue[0].at.Sub(now)
	return min(idleWait, max(0, int((left+time.Millisecond-1)/time.Millisecond)))
}

// fire does all whose time has come.
func (t *timers) fire(now time.Time) {
	for len(t.queue) > 0 && !t.queue[0].at.After(now) {
		heap.Pop(&t.queue).(timer).do()
	}
}

// timerQueue is a heap by time.
type timerQueue []timer

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timerQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push is of heap.Interface.
func (q *timerQueue) Push(x any) { *q = append(*q, x.(timer)) }

// Pop is of heap.Interface.
func (q *timerQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
