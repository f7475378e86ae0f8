package policy

// http3 judges what HTTP/3 cannot do.
func (l *loader) http3() {
	if l.p.Edge.HTTP3 && l.p.Edge.ProxyProtocol {
		l.errorf("edge.http3", "turn one of them off", "HTTP/3 has no PROXY protocol: its clients would come without their addresses")
	}
}
