package password

import (
	"math"
	"strings"
)

// periodic reports whether a piece is its first p characters again and again;
// the last time may be cut short.
func periodic(piece []rune, p int) bool {
	for i := p; i < len(piece); i++ {
		if piece[i] != piece[i-p] {
			return false
		}
	}
	return true
}

// sequence finds what counts or follows the alphabet: abcd, 8765, 2468, клмн.
func sequence(piece []rune) (bits float64, ok bool) {
	step := piece[1] - piece[0]
	if step == 0 || step < -2 || step > 2 {
		return 0, false
	}
	for i := 2; i < len(piece); i++ {
		if piece[i]-piece[i-1] != step {
			return 0, false
		}
	}
	bits = 4 + math.Log2(float64(len(piece)))
	if step != 1 {
		bits++
	}
	return bits, true
}

// keyboards are the keys of layouts, row by row; each row is half a key to the
// right of the one above.
var keyboards = [...]map[rune][2]int{
	keys("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"),
	keys("1234567890", "qwertzuiopü+", "asdfghjklöä#", "yxcvbnm,.-"),
	keys("1234567890", "azertyuiop", "qsdfghjklm", "wxcvbn,;:!"),
	keys("1234567890-=", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю."),
}

func keys(rows ...string) map[rune][2]int {
	at := map[rune][2]int{}
	for y, keys := range rows {
		for x, r := range []rune(keys) {
			at[r] = [2]int{x, y}
		}
	}
	for x, r := range []rune("!@#$%^&*()") { // with shift, on many keyboards
		if _, taken := at[r]; !taken {
			at[r] = [2]int{x, 0}
		}
	}
	return at
}

// walk finds what runs along neighbouring keys: qwertz, 1qaz, 1q2w3e4r. Each
// turn adds to the bits.
func walk(piece []rune) (bits float64, ok bool) {
	for _, at := range keyboards {
		if turns, found := turns(at, piece); found {
			return 4 + math.Log2(float64(len(piece))) + 2.5*float64(turns), true
		}
	}
	return 0, false
}

func turns(at map[rune][2]int, piece []rune) (turns int, ok bool) {
	var before [2]int
	from, there := at[piece[0]]
	if !there {
		return 0, false
	}
	for i, r := range piece[1:] {
		to, there := at[r]
		if !there {
			return 0, false
		}
		way := [2]int{to[0] - from[0], to[1] - from[1]}
		switch way {
		case [2]int{1, 0}, [2]int{-1, 0}, [2]int{0, 1}, [2]int{-1, 1}, [2]int{0, -1}, [2]int{1, -1}:
		default:
			return 0, false
		}
		if i > 0 && way != before {
			turns++
		}
		from, before = to, way
	}
	return turns, true
}

// calendar finds years and dates, with separators or without, in any order of
// day, month and year.
func calendar(piece []rune) (bits float64, ok bool) {
	const yearBits, dayBits, twoDigitYearBits = 7.1, 8.5, 6.6
	if len(piece) > len("24.07.1998") {
		return 0, false
	}
	s := string(piece)
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(". -/_", r) {
			return -1
		}
		return r
	}, s)
	var n [8]int
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' || i == len(n) {
			return 0, false
		}
		n[i] = int(digits[i] - '0')
	}
	if len(digits) < len(s) {
		bits = 2
	}
	two := func(i int) int { return 10*n[i] + n[i+1] }
	day := func(i int) bool { return calendarDay(two(i), two(i+2)) || calendarDay(two(i+2), two(i)) }
	year := func(i int) bool { y := 100*two(i) + two(i+2); return y >= 1900 && y <= 2040 }
	switch len(digits) {
	case 4:
		if year(0) {
			return bits + yearBits, true
		}
		return bits + dayBits, day(0)
	case 6:
		return bits + dayBits + twoDigitYearBits, day(0) || day(2)
	case 8:
		return bits + dayBits + yearBits, day(0) && year(4) || year(0) && day(4)
	}
	return 0, false
}

func calendarDay(day, month int) bool {
	return day >= 1 && day <= 31 && month >= 1 && month <= 12
}
