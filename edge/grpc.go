package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// gRPC passes where the upstream speaks HTTP/2 (upstream: h2c://...) and a route's
// content_types allow it: messages both ways as they come, and the status in the
// trailers of the answer (grpc/doc/PROTOCOL-HTTP2.md). A refusal of a ring is
// answered as to any client; gRPC's clients make codes of 401, 403, 429 and 503
// (grpc/doc/http-grpc-status-mapping.md).

// isGRPC reports whether a message is gRPC's, application/grpc or
// application/grpc+proto. gRPC-Web has its trailers in the body, and is no
// business of a proxy's.
func isGRPC(h http.Header) bool {
	v := h["Content-Type"]
	if len(v) != 1 {
		return false
	}
	kind := mediaOf(v[0])
	return kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+")
}

// mediaOf is a Content-Type in lower case, without parameters.
func mediaOf(contentType string) string {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// grpcTrailers leaves out of the trailers what tells of a connection, a message or
// a browser's state: read late, it was judged by nobody (RFC 9110, 6.5.1).
func grpcTrailers(h http.Header) {
	for name := range h {
		switch {
		case strings.HasPrefix(name, "Content-"), strings.HasPrefix(name, "Proxy-"), strings.HasPrefix(name, "Access-Control-"), !isToken(name):
			delete(h, name)
		}
		switch name {
		case "Set-Cookie", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Host", "Cache-Control", "Location", "Www-Authenticate":
			delete(h, name)
		}
	}
}

// grpcHealth is the path of gRPC's own health check
// (grpc/doc/health-checking.md). edge.health.path may be it.
const grpcHealth = "/grpc.health.v1.Health/Check"

// lookGRPC asks for the health of the whole server.
func (u *upstream) lookGRPC(ctx context.Context, site string) error {
	empty := make([]byte, 5) // a message without compression and of length 0
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://upstream"+grpcHealth, bytes.NewReader(empty))
	if err != nil {
		return err
	}
	r.Host = site
	r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"ringwall-health"}}
	res, err := u.checks.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("upstream: %s: %w", grpcHealth, err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status") // an answer of trailers alone
	}
	switch serving := []byte{0, 0, 0, 0, 2, 0x08, 1}; { // field 1, status, is SERVING
	case err != nil:
		return fmt.Errorf("upstream: %s: %w", grpcHealth, err)
	case res.StatusCode != http.StatusOK || status != "0":
		return fmt.Errorf("upstream: %s was answered %d with grpc-status %q", grpcHealth, res.StatusCode, status)
	case !bytes.Equal(said, serving):
		return errors.New("upstream: " + grpcHealth + " says that it does not serve")
	}
	return nil
}
