package config

// Suggestion is " (did you mean …?)" with the word of words that is nearest to
// s, or "" where none is near.
func Suggestion(s string, words []string) string {
	best, least := "", max(2, len(s)/3)+1
	for _, word := range words {
		if n := edits(s, word); n < least {
			best, least = word, n
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
