package app

// ParseOrigin is parseOrigin, whose accepted strings must spell themselves.
func ParseOrigin(s string) (scheme, host, port string, ok bool) {
	o, ok := parseOrigin(s)
	return o.scheme, o.host, o.port, ok
}
