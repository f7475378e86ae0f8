package edge

// decodeAgain appends s with its percent escapes decoded, those of IIS (%u002e)
// and overlong UTF-8 (C0 AE for a dot) too. What is no escape stays. The result
// is as long as s exactly if nothing was encoded.
func decodeAgain(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		c, n := decodeOne(s[i:])
		b = append(b, c)
		i += n
	}
	return b
}

// decodeOne reads one byte of a character, and says of how many it was made.
func decodeOne(s string) (c byte, n int) {
	switch {
	case s[0] == '%' && len(s) >= 6 && lower(s[1]) == 'u' && s[2] == '0' && s[3] == '0' && isHex(s[4]) && isHex(s[5]):
		return unhex(s[4])<<4 | unhex(s[5]), 6
	case s[0] == '%' && len(s) >= 3 && isHex(s[1]) && isHex(s[2]):
		return unhex(s[1])<<4 | unhex(s[2]), 3
	case (s[0] == 0xc0 || s[0] == 0xc1) && len(s) >= 2 && s[1]&0xc0 == 0x80:
		return s[0]<<6 | s[1]&0x3f, 2
	case s[0] == 0xe0 && len(s) >= 3 && (s[1] == 0x80 || s[1] == 0x81) && s[2]&0xc0 == 0x80:
		return s[1]<<6 | s[2]&0x3f, 3
	}
	return s[0], 1
}

func isHex(c byte) bool {
	c = lower(c)
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
}

func unhex(c byte) byte {
	if c = lower(c); c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}
