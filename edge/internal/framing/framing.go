// Package framing tells where the requests of an HTTP/1 connection end, and
// refuses those of which two programs could see the end in two places.
package framing

import (
	"bytes"
	"encoding/binary"
)

// A Framer follows the requests of an HTTP/1 connection, byte by byte and in
// pieces of any size, and stops at the first byte that RFC 9112 does not allow
// or that two programs could understand in two ways. It refuses what net/http
// forgives: bare CR and LF, folded lines, spaces around names, more than one
// Content-Length, Content-Length beside Transfer-Encoding, codings other than
// chunked, chunk extensions at length. It keeps no bytes and does not allocate.
//
// The zero value is at the start of a request.
type Framer struct {
	state   state
	version byte     // the minor one: '0' or '1'
	field   field    // whose value is being read
	word    [18]byte // the name or the value being read, names in lower case
	n       int      // bytes of it, those that do not fit counted
	left    uint64   // of the body or the chunk

	hasLength, chunked, hasExpect, trailer bool
	extra                                  int // bytes of chunk extensions in this line, or of trailers
	slashes                                int // of a target that is no path
}

type state uint8

const (
	atStart state = iota // of a request: nothing of it has come
	inMethod
	atTarget
	inPath      // a target that begins with a slash
	inAuthority // another one
	inVersion
	atLineEnd // CR has come
	atField
	inName
	inValue
	atFieldEnd
	atHeadEnd
	inBody
	atChunk // no digit of its size has come
	inChunkSize
	inChunkExtension
	atChunkLine
	inChunk
	atChunkEnd
	atChunkEndLine
)

// InBody reports whether what comes next belongs to a request's body.
func (f *Framer) InBody() bool { return f.state >= inBody || f.trailer }

type field uint8

const (
	otherField field = iota
	lengthField
	codingField
	expectField
)

const (
	mostExtension = 128  // bytes of chunk extensions in a line; nobody uses any
	mostTrailer   = 2048 // bytes; net/http reads no more than twice that
)

// A Breach is what is wrong with the framing of a request.
type Breach uint8

const (
	None Breach = iota // all is in order
	badStart
	badTarget
	userinfo
	badVersion
	otherVersion
	bareLineFeed
	bareReturn
	foldedLine
	badName
	badValue
	badLength
	twoLengths
	twoFramings
	badCoding
	oldCoding
	badExpect
	badChunk
	longExtension
	longTrailer
	badTrailer
)

var breaches = [...]struct {
	status int
	text   string // for the operator
}{
	badStart:      {400, "the request line does not begin with a method (RFC 9112, 3.1)"},
	badTarget:     {400, "the request target is empty or has spaces or control characters (RFC 9112, 3.2)"},
	userinfo:      {400, "the request target has user information (RFC 9110, 4.2.4)"},
	badVersion:    {400, "the request line does not end with a version (RFC 9112, 2.3)"},
	otherVersion:  {505, "the version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9112, 2.3)"},
	bareLineFeed:  {400, "LF without CR (RFC 9112, 2.2)"},
	bareReturn:    {400, "CR without LF (RFC 9112, 2.2)"},
	foldedLine:    {400, "a line begins with a space (RFC 9112, 2.2 and 5.2)"},
	badName:       {400, "a header name is empty, or not followed by its colon (RFC 9112, 5.1)"},
	badValue:      {400, "a control character in a header (RFC 9110, 5.5)"},
	badLength:     {400, "Content-Length is not a plain number (RFC 9110, 8.6)"},
	twoLengths:    {400, "Content-Length twice (RFC 9112, 6.3)"},
	twoFramings:   {400, "Content-Length and Transfer-Encoding (RFC 9112, 6.1)"},
	badCoding:     {501, "Transfer-Encoding is not exactly chunked, once (RFC 9112, 6.1)"},
	oldCoding:     {400, "Transfer-Encoding in HTTP/1.0 (RFC 9112, 6.1)"},
	badExpect:     {417, "Expect is not 100-continue (RFC 9110, 10.1.1)"},
	badChunk:      {400, "a chunk is not framed as it must be (RFC 9112, 7.1)"},
	longExtension: {400, "a chunk extension is too long (RFC 9112, 7.1.1)"},
	longTrailer:   {400, "the trailer is too long (RFC 9112, 7.1.2)"},
	badTrailer:    {400, "the trailer changes the framing (RFC 9110, 6.5.1)"},
}

// Status is the status of the answer: 400, 417, 501 or 505.
func (b Breach) Status() int { return breaches[b].status }

// Error says what is wrong, and what forbids it.
func (b Breach) Error() string { return breaches[b].text }

// AtStart reports whether nothing of the next request has come.
func (f *Framer) AtStart() bool { return f.state == atStart }

// What a byte may be part of.
const (
	token  = 1 << iota // RFC 9110, 5.6.2
	target             // visible, and what is not ASCII, which app/path judges
	text               // RFC 9110, 5.5: visible, not ASCII, space and tab
)

var bytesOf = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c > 0x20 && c != 0x7f:
			t[c] = target | text
		case c == ' ', c == '\t':
			t[c] = text
		}
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c < 0x80 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0:
			t[c] |= token
		}
	}
	return t
}()

// Follow reads on. It returns how many bytes of p are in order, and what is
// wrong with the next one, if anything. The end of a head that is refused is
// not among those in order, so that who gets only these never sees it whole.
func (f *Framer) Follow(p []byte) (int, Breach) {
	for i := 0; i < len(p); {
		c := p[i]
		switch f.state {
		case atStart:
			if bytesOf[c]&token == 0 {
				return i, badStart
			}
			*f = Framer{state: inMethod}
		case inMethod:
			if c == ' ' {
				f.state = atTarget
			} else if bytesOf[c]&token == 0 {
				return i, lineBreach(c, badStart)
			}
		case atTarget:
			if bytesOf[c]&target == 0 {
				return i, lineBreach(c, badTarget)
			}
			f.state = inAuthority
			if c == '/' {
				f.state = inPath
			}
		case inPath:
			for i < len(p) && bytesOf[p[i]]&target != 0 {
				i++
			}
			if i == len(p) {
				return i, None
			}
			if p[i] != ' ' {
				return i, lineBreach(p[i], badTarget)
			}
			f.state, f.n = inVersion, 0
		case inAuthority:
			switch {
			case c == ' ':
				f.state, f.n = inVersion, 0
			case c == '/':
				f.slashes++
			case c == '@' && f.slashes < 3:
				return i, userinfo
			case bytesOf[c]&target == 0:
				return i, lineBreach(c, badTarget)
			}
		case inVersion:
			if b := f.readVersion(c); b != None {
				return i, b
			}
		case atLineEnd, atFieldEnd:
			if c != '\n' {
				return i, bareReturn
			}
			f.state = atField
		case atField:
			switch {
			case c == '\r':
				f.state = atHeadEnd
			case c == ' ', c == '\t':
				return i, foldedLine
			case bytesOf[c]&token == 0:
				return i, lineBreach(c, badName)
			default:
				f.state, f.n = inName, 0
				continue // it is the name's first byte
			}
		case inName:
			var b Breach
			if i, b = f.readName(p, i); b != None || i == len(p) {
				return i, b
			}
		case inValue:
			var b Breach
			if i, b = f.readValue(p, i); b != None || i == len(p) {
				return i, b
			}
		case atHeadEnd:
			if c != '\n' {
				return i, bareReturn
			}
			if b := f.endHead(); b != None {
				return i, b
			}
		case inBody, inChunk:
			n := min(f.left, uint64(len(p)-i))
			i += int(n)
			if f.left -= n; f.left == 0 {
				if f.state == inBody {
					f.state = atStart
				} else {
					f.state = atChunkEnd
				}
			}
			continue
		default:
			if b := f.readChunkLine(c); b != None {
				return i, b
			}
		}
		if f.trailer {
			if f.extra++; f.extra > mostTrailer {
				return i, longTrailer
			}
		}
		i++
	}
	return len(p), None
}

// lineBreach prefers to say that a line ends where it must not.
func lineBreach(c byte, other Breach) Breach {
	if c == '\n' {
		return bareLineFeed
	}
	return other
}

func (f *Framer) readVersion(c byte) Breach {
	const prefix = "HTTP/"
	switch {
	case f.n < len(prefix):
		if c != prefix[f.n] {
			return lineBreach(c, badVersion)
		}
	case f.n == len(prefix), f.n == len("HTTP/1."):
		if c < '0' || c > '9' {
			return lineBreach(c, badVersion)
		}
		if f.n == len(prefix) && c != '1' || c > '1' {
			return otherVersion
		}
		f.version = c
	case f.n == len("HTTP/1"):
		if c != '.' {
			return lineBreach(c, badVersion)
		}
	case c == '\r':
		f.state = atLineEnd
	default:
		return lineBreach(c, badVersion)
	}
	f.n++
	return None
}

// readName reads from p[i] on and returns where it stopped: at the colon, or at
// the end of p.
func (f *Framer) readName(p []byte, i int) (int, Breach) {
	for ; i < len(p); i++ {
		c := p[i]
		if bytesOf[c]&token == 0 {
			if c != ':' {
				return i, lineBreach(c, badName)
			}
			break
		}
		if f.n < len(f.word) {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			f.word[f.n] = c
		}
		f.n++
	}
	if i == len(p) {
		return i, None
	}
	f.field = otherField
	switch f.n {
	case len("content-length"):
		if string(f.word[:f.n]) == "content-length" {
			f.field = lengthField
			if f.hasLength {
				return i, twoLengths
			}
			f.hasLength = true
		}
	case len("transfer-encoding"):
		if string(f.word[:f.n]) == "transfer-encoding" {
			f.field = codingField
			if f.chunked && !f.trailer {
				return i, badCoding
			}
		}
	case len("expect"):
		if string(f.word[:f.n]) == "expect" {
			f.field = expectField
		}
	}
	if f.trailer && f.field != otherField {
		return i, badTrailer
	}
	f.state, f.n = inValue, 0
	return i, None
}

// readValue reads from p[i] on and returns where it stopped: at the line's CR,
// or at the end of p.
func (f *Framer) readValue(p []byte, i int) (int, Breach) {
	start := i
	for i+8 <= len(p) && printable(binary.LittleEndian.Uint64(p[i:])) {
		i += 8
	}
	for i < len(p) && bytesOf[p[i]]&text != 0 {
		i++
	}
	if f.field != otherField {
		for _, c := range p[start:i] {
			if f.n == 0 && c == ' ' {
				continue
			}
			if f.n < len(f.word) {
				f.word[f.n] = c
			}
			f.n++
		}
	}
	if f.trailer {
		if f.extra += i - start; f.extra > mostTrailer {
			return i, longTrailer
		}
	}
	switch {
	case i == len(p):
		return i, None
	case p[i] != '\r':
		return i, lineBreach(p[i], badValue)
	}
	f.state = atFieldEnd
	if f.n > len(f.word) {
		f.n = 0 // too long for any that is allowed
	}
	v := bytes.TrimRight(f.word[:f.n], " ") // a tab is allowed, and not to nginx
	switch f.field {
	case lengthField:
		var ok bool
		if f.left, ok = parseLength(v); !ok {
			return i, badLength
		}
	case codingField:
		if !bytes.EqualFold(v, []byte("chunked")) {
			return i, badCoding
		}
		f.chunked = true
	case expectField:
		if f.hasExpect || !bytes.EqualFold(v, []byte("100-continue")) {
			return i, badExpect
		}
		f.hasExpect = true
	}
	return i, None
}

// printable reports whether eight bytes are visible ASCII or spaces.
func printable(w uint64) bool {
	const each = 0x0101010101010101
	return (w|(w+each)|(w-0x20*each))&(0x80*each) == 0
}

// parseLength reads decimal digits, without leading zeros, which some programs
// read as octal.
func parseLength(v []byte) (n uint64, ok bool) {
	if len(v) == 0 || len(v) > 18 || v[0] == '0' && len(v) > 1 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

func (f *Framer) endHead() Breach {
	switch {
	case f.trailer:
		*f = Framer{}
	case f.chunked && f.version == '0':
		return oldCoding
	case f.chunked && f.hasLength:
		return twoFramings
	case f.chunked:
		f.state = atChunk
	case f.left > 0:
		f.state = inBody
	default:
		*f = Framer{}
	}
	return None
}

// readChunkLine reads what stands around the data of chunks.
func (f *Framer) readChunkLine(c byte) Breach {
	switch f.state {
	case atChunk, inChunkSize:
		if f.state == atChunk {
			f.left, f.n, f.extra = 0, 0, 0
		}
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			digit = c - 'A' + 10
		case f.state == atChunk:
			return lineBreach(c, badChunk)
		case c == '\r':
			f.state = atChunkLine
			return None
		case c == ';':
			f.state = inChunkExtension
			return None
		default:
			return lineBreach(c, badChunk)
		}
		f.state = inChunkSize
		if f.n++; f.n > 15 { // 2^60 bytes
			return badChunk
		}
		f.left = f.left<<4 | uint64(digit)
	case inChunkExtension:
		switch {
		case c == '\r':
			f.state = atChunkLine
		case bytesOf[c]&text == 0:
			return lineBreach(c, badChunk)
		}
		if f.extra++; f.extra > mostExtension {
			return longExtension
		}
	case atChunkLine:
		if c != '\n' {
			return bareReturn
		}
		if f.state = inChunk; f.left == 0 { // the last one
			f.state, f.trailer, f.extra = atField, true, 0
		}
	case atChunkEnd:
		if c != '\r' {
			return lineBreach(c, badChunk)
		}
		f.state = atChunkEndLine
	case atChunkEndLine:
		if c != '\n' {
			return bareReturn
		}
		f.state = atChunk
	}
	return None
}
