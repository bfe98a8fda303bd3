package main

// nearest returns the known word that a mistyped one most likely means, or ""
// when none is near: at most a third of its letters may differ.
func nearest(typed string, known []string) string {
	best, least := "", len(typed)/3+1
	for _, word := range known {
		if d := editDistance(typed, word); d < least || d == least && best == "" {
			best, least = word, d
		}
	}
	return best
}

// editDistance counts the letters to put in, take out, change or swap with
// their neighbour, to get from a to b.
func editDistance(a, b string) int {
	var before, above []int // the rows for a[:i-2] and a[:i-1]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := above[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
