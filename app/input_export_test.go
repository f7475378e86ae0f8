package app

// ScanJSON is the scanner of app/json: the code of what is wrong, or "", and
// the byte where it stopped.
func ScanJSON(b []byte, depth int) (code string, at int) {
	f, at := scanJSON(b, depth)
	return jsonFaults[f].code, at
}

// KeptKeys is how many hashes of keys the next scanner has room for.
func KeptKeys() int {
	s := scanners.Get().(*jsonScanner)
	defer scanners.Put(s)
	return cap(s.keys)
}
