package outside

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// http2 sees whether HTTP/2 works where it is offered, and that nobody can change
// to it in clear inside a connection: what is said then passes by the proxy's
// rules (h2c smuggling).
var http2 = Check{
	Meta: check.Meta{
		ID:    "outside/http2",
		Most:  3,
		Title: "HTTP/2 is spoken as it is offered, and never through a change of protocol",
		Why:   "A proxy that passes an upgrade to h2c on cannot see the requests that follow, and none of its rules holds for them.",
		Ref:   "RFC 9113, 3.1 and 3.4; ASVS 5.0 V4.2.1; OWASP API8 2023; CWE-444; blueprint E4, T8, checklist 3",
		Layer: "edge",
	},
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		res, err := t.Client.Do(ctx, probe.Request{Target: t.base(), Headers: [][2]string{
			{"Connection", "Upgrade, HTTP2-Settings"}, {"Upgrade", "h2c"}, {"HTTP2-Settings", base64.RawURLEncoding.EncodeToString([]byte{0, 3, 0, 0, 0, 100})},
		}})
		if err != nil {
			return unanswered("GET "+t.base()+" with Upgrade: h2c", err)
		}
		if res.Status == http.StatusSwitchingProtocols {
			return check.Failed("an upgrade to h2c was taken", "the upgrade left out of account",
				"in nginx: pass Upgrade on for WebSocket locations alone, and only when it is websocket")
		}
		state, err := t.handshake(ctx, &tls.Config{NextProtos: []string{"h2", "http/1.1"}})
		switch {
		case errors.Is(err, probe.ErrNoTLS):
			return check.Passed("an upgrade to h2c was answered %s; without TLS there is no HTTP/2", res.Line())
		case err != nil:
			return check.Unseen("no handshake that offers h2: %v", err)
		case state.NegotiatedProtocol != "h2":
			return check.Passed("an upgrade to h2c was answered %s; HTTP/2 is not offered, which is allowed", res.Line())
		}
		if err := t.settings(ctx); err != nil {
			return check.Failed("HTTP/2 is chosen in the handshake, and then not spoken: "+err.Error(), "a SETTINGS frame first", "take h2 out of the protocols that TLS offers, or repair it")
		}
		return check.Passed("an upgrade to h2c was answered %s; HTTP/2 is offered and spoken", res.Line())
	},
}

// settings begins to speak HTTP/2 and reads the server's first frame, which is
// SETTINGS (RFC 9113, 3.4).
func (t *Target) settings(ctx context.Context) error {
	conn, err := t.Client.Handshake(ctx, &tls.Config{ServerName: t.site(), NextProtos: []string{"h2"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return err
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(bufio.NewReader(conn), head); err != nil {
		return err
	}
	if head[3] != 4 {
		return errors.New("its first frame is not SETTINGS")
	}
	return nil
}
