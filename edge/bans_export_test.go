package edge

import (
	"fmt"
	"net/netip"
)

// BanWeights are the rows of the table in docs/bans.md.
func BanWeights() (rows []string) {
	for _, w := range weights {
		of := "any"
		if w.control != "" {
			of = "`" + w.control + "`"
		}
		pushed := fmt.Sprint(w.points)
		if w.pushed {
			pushed = "0"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %d | %s |", w.kind, of, w.points, pushed))
	}
	return rows
}

// SetMost bounds the bans of a test.
func (b *Bans) SetMost(n int) { b.table.most = n }

// BanSheets is how many addresses have points, and how many bytes they take.
func (b *Bans) BanSheets() (used, places int) {
	for i := range b.scores.shards {
		for _, set := range b.scores.shards[i].sets {
			for j := range set {
				places++
				if set[j].points > 0 {
					used++
				}
			}
		}
	}
	return used, places
}

// Refuses is what Conn and Gate ask.
func (b *Bans) Refuses(a netip.Addr) bool { return b.refuses(a, b.rules.Load(), b.clock) }

// ReadBans is the parser of the file.
var ReadBans = readBans
