package app

// The decoder's walk over JSON. The text is sound: scanJSON has passed it.

func (d *decoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\n', '\r', '\t':
			d.i++
		default:
			return
		}
	}
}

// members steps to the next member of the object that starts or goes on at
// d.i. It is false past the object's end.
func (d *decoder) members() bool {
	if d.b[d.i] == '{' {
		d.i++
	}
	return d.more('}')
}

// more steps over a comma to the next element, or past the end.
func (d *decoder) more(end byte) bool {
	d.space()
	if d.b[d.i] == ',' {
		d.i++
		d.space()
	}
	if d.b[d.i] == end {
		d.i++
		return false
	}
	return true
}

// member reads a key and steps to its value. The key is valid until the next.
func (d *decoder) member() []byte {
	raw := d.skip()
	raw = raw[1 : len(raw)-1]
	for _, c := range raw {
		if c == '\\' {
			d.key = appendUnescaped(d.key[:0], raw)
			raw = d.key
			break
		}
	}
	d.space()
	d.i++ // the colon
	d.space()
	return raw
}

// unquote is the text of a string's raw form.
func (d *decoder) unquote(raw []byte) string {
	raw = raw[1 : len(raw)-1]
	for _, c := range raw {
		if c == '\\' {
			return string(appendUnescaped(nil, raw))
		}
	}
	return string(raw)
}

// skip steps over one value and returns it.
func (d *decoder) skip() []byte {
	start := d.i
	depth := 0
	for {
		switch c := d.b[d.i]; c {
		case '"':
			d.i++
			for d.b[d.i] != '"' {
				if d.b[d.i] == '\\' {
					d.i++
				}
				d.i++
			}
			d.i++
		case '{', '[':
			depth++
			d.i++
		case '}', ']':
			depth--
			d.i++
		case ',', ':', ' ', '\n', '\r', '\t':
			d.i++
			continue // only ever inside an array or object
		default: // a number or a word
			for d.i < len(d.b) && !isDelimiter(d.b[d.i]) {
				d.i++
			}
		}
		if depth == 0 {
			return d.b[start:d.i]
		}
	}
}

func isDelimiter(c byte) bool {
	switch c {
	case ',', ':', '}', ']', ' ', '\n', '\r', '\t':
		return true
	}
	return false
}
