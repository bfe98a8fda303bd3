package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// figure is one line of the results.
type figure struct {
	name  string
	ours  sample
	nginx sample  // empty: nothing to compare with
	unit  string  // of ours and nginx
	goal  float64 // the most that the ratio, or without nginx ours, may be; negative: no goal
	note  string
}

// noGoal is the goal of a figure that is only told.
const noGoal = -1

// sample holds what several runs gave.
type sample []float64

// median of the runs; 0 of none.
func (s sample) median() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[len(s)/2]
}

// ratio compares with nginx; 0 without it.
func (f figure) ratio() float64 {
	if f.nginx.median() == 0 {
		return 0
	}
	return f.ours.median() / f.nginx.median()
}

// verdict of the figure: met, missed, or none.
func (f figure) verdict() string {
	value := f.ours.median()
	if len(f.nginx) > 0 {
		value = f.ratio()
	}
	switch {
	case f.goal < 0:
		return "-"
	case value <= f.goal:
		return "met"
	}
	return "missed"
}

// header names the columns of String.
const header = "name\tours\tnginx\tratio\tgoal\tverdict\tspread and notes"

// String is the line: name, ours, nginx, ratio, goal, verdict, then the spread.
func (f figure) String() string {
	nginx, ratio, goal := "-", "-", "-"
	if len(f.nginx) > 0 {
		nginx, ratio = amount(f.nginx.median(), f.unit), fmt.Sprintf("%.2f", f.ratio())
	}
	if f.goal >= 0 {
		goal = "≤ " + number(f.goal)
		if len(f.nginx) == 0 {
			goal = "≤ " + amount(f.goal, f.unit)
		}
	}
	note := f.note
	if len(f.ours) > 1 {
		note = "ours " + f.ours.spread()
		if len(f.nginx) > 0 {
			note += ", nginx " + f.nginx.spread()
		}
		if f.note != "" {
			note += "; " + f.note
		}
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s", f.name, amount(f.ours.median(), f.unit), nginx, ratio, goal, f.verdict(), note)
}

// spread is the lowest and the highest run.
func (s sample) spread() string {
	return number(slices.Min(s)) + "–" + number(slices.Max(s))
}

func amount(v float64, unit string) string {
	if unit == "" {
		return number(v)
	}
	return number(v) + " " + unit
}

// number prints three digits that matter.
func number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// printFigures writes a table, with its header.
func printFigures(w io.Writer, figures []figure) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, header)
	for _, f := range figures {
		fmt.Fprintln(table, f)
	}
	_ = table.Flush() // a terminal that is gone is told by the next write
}
