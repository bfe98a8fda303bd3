package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"surgecast/cluster"
)

// column is one of the table: what it shows of a node, and how soon it goes
// where the terminal is too narrow for all.
type column struct {
	head    string
	show    func(n nodeStatus) string
	right   bool // numbers
	figures bool // of the node's own: nothing while it does not answer
	spare   int  // the highest goes first; 0: it always stays
}

var columns = []column{
	{head: "NODE", show: func(n nodeStatus) string { return short(n.Name) }},
	{head: "ROLE", show: func(n nodeStatus) string { return n.Role }, spare: 5},
	{head: "STATE", show: func(n nodeStatus) string { return n.State }},
	{head: "ADDRESS", show: func(n nodeStatus) string { return cmp.Or(n.Address, "-") }},
	{head: "TIER", show: func(n nodeStatus) string { return number(n.Tier) }, right: true, spare: 8},
	{head: "PARENT", show: func(n nodeStatus) string { return cmp.Or(n.Parent, "-") }, spare: 9},
	{head: "VIEWERS", show: func(n nodeStatus) string { return fmt.Sprintf("%.0f", n.Viewers) }, right: true, figures: true, spare: 1},
	{head: "MBIT/S", show: func(n nodeStatus) string { return megabits(n.BitsPerSecond) }, right: true, figures: true, spare: 4},
	{head: "OF", show: nodeStatus.capacity, right: true, spare: 6},
	{head: "FROM", show: func(n nodeStatus) string { return cmp.Or(n.CapacityFrom, "-") }, figures: true, spare: 10},
	{head: "LAG", show: nodeStatus.lag, right: true, spare: 2},
	{head: "DNS", show: nodeStatus.share, right: true, spare: 3},
	{head: "VERSION", show: func(n nodeStatus) string { return n.Version }, spare: 7},
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func megabits(bitsPerSecond float64) string { return fmt.Sprintf("%.1f", bitsPerSecond/1e6) }

func (n nodeStatus) capacity() string {
	if n.CapacityBitsPerSecond == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", n.CapacityBitsPerSecond/1e6)
}

func (n nodeStatus) lag() string {
	switch {
	case n.Error != "":
		return "no answer"
	case n.LagSeconds == nil:
		return "-"
	}
	return fmt.Sprintf("%.0f ms", *n.LagSeconds*1000)
}

func (n nodeStatus) share() string {
	if n.DNSShare == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", n.DNSShare*100)
}

// style is how a node's line looks on a terminal.
func (n nodeStatus) style() string {
	switch {
	case n.Error != "":
		return red
	case n.State == string(cluster.StatusServing):
		return green
	}
	return yellow
}

// writeTable prints the pool for people, in colour on a terminal and within its
// width; elsewhere as plain text with all there is.
func (s *poolStatus) writeTable(out io.Writer, on terminal) error {
	shown := columns
	rows := s.rows(shown)
	for tableWidth(rows) > on.width && on.width > 0 {
		narrower, ok := withoutSpare(shown)
		if !ok {
			break
		}
		shown = narrower
		rows = s.rows(shown)
	}
	widths := columnWidths(rows)
	for i, row := range rows {
		var line strings.Builder
		for j, cell := range row {
			pad := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell))
			switch {
			case j > 0 && shown[j-1].right:
				cell = pad + cell
			case j < len(row)-1:
				cell += pad
			}
			if j > 0 && i > 0 && shown[j-1].head == "STATE" {
				cell = on.paint(s.Nodes[i-1].style(), cell)
			}
			if j > 1 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		text := line.String()
		if i == 0 {
			text = on.paint(bold, text)
		}
		if _, err := fmt.Fprintln(out, text); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(out, "\n%s\n", fold(s.summary(), on.width)); err != nil {
		return err
	}
	if err := s.writeFeeds(out, on); err != nil {
		return err
	}
	if err := s.writeRungs(out, on); err != nil {
		return err
	}
	return s.writeLadders(out, on)
}

// rows are the cells of the table, its head first; the first cell marks the
// node that was asked.
func (s *poolStatus) rows(shown []column) [][]string {
	head := []string{"  "}
	for _, c := range shown {
		head = append(head, c.head)
	}
	rows := [][]string{head}
	for _, n := range s.Nodes {
		row := []string{"  "}
		if n.Name == s.Asked {
			row[0] = "* "
		}
		for _, c := range shown {
			if cell := c.show(n); c.figures && n.Error != "" {
				row = append(row, "-")
			} else {
				row = append(row, cell)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// withoutSpare returns the columns without the one that can be spared most.
func withoutSpare(shown []column) ([]column, bool) {
	most := 0
	for i, c := range shown {
		if c.spare > shown[most].spare {
			most = i
		}
	}
	if shown[most].spare == 0 {
		return shown, false
	}
	return append(shown[:most:most], shown[most+1:]...), true
}

func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for j, cell := range row {
			widths[j] = max(widths[j], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func tableWidth(rows [][]string) int {
	width := 2 * (len(rows[0]) - 2) // between them
	for _, w := range columnWidths(rows) {
		width += w
	}
	return width
}

// fold breaks a text between words so that it fits a width; 0: it stays one
// line.
func fold(text string, width int) string {
	if width <= 0 {
		return text
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n")
}

// summary is the line under the table.
func (s *poolStatus) summary() string {
	if s.Isolated {
		return "* was asked. It sees no other node: check its seeds and the network."
	}
	serving, silent := 0, 0
	var viewers, bits float64
	for _, n := range s.Nodes {
		if n.Role == string(cluster.RoleRelay) && n.State == string(cluster.StatusServing) {
			serving++
		}
		if n.Error != "" {
			silent++
		}
		viewers += n.Viewers
		bits += n.BitsPerSecond
	}
	text := fmt.Sprintf("* was asked. %s serving, %s, %s Mbit/s in all.",
		count(serving, "relay"), count(int(math.Round(viewers)), "viewer"), megabits(bits))
	if silent > 0 {
		text += fmt.Sprintf(" %s did not answer within %v.", count(silent, "node"), memberAnswerBound)
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short is enough of a node's random name to tell it from the others.
func short(name string) string { return name[:min(8, len(name))] }
