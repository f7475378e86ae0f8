package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// rateJudge is edge/rate with the blueprint's rate.
func rateJudge(t *testing.T, st *edge.State) edge.Judge {
	t.Helper()
	for _, c := range edge.Controls() {
		if c.ID == "edge/rate" {
			judge, err := c.Gate(policy.Default(), st)
			if err != nil {
				t.Fatal(err)
			}
			return judge
		}
	}
	t.Fatal("edge/rate is not in the list")
	return nil
}

// rateAsk sends n requests of a client and counts those that pass.
func rateAsk(judge edge.Judge, client string, now time.Time, n int) (passed int, last *edge.Refusal) {
	v := &edge.Visit{Now: now}
	if client != "" {
		v.Client = netip.MustParseAddr(client)
	}
	for range n {
		if r := judge(v); r != nil {
			last = r
		} else {
			passed++
		}
	}
	return passed, last
}

func TestRateAdmitsTheBurstAndNoMore(t *testing.T) {
	st := &edge.State{}
	judge := rateJudge(t, st)
	now := time.Now()
	passed, refused := rateAsk(judge, "192.0.2.1", now, 100)
	if passed != 21 || refused == nil || refused.Status != http.StatusTooManyRequests || refused.Hangup || refused.RetryAfter != 100*time.Millisecond {
		t.Errorf("of 100 at once %d passed, then %+v", passed, refused)
	}
	for _, tt := range []struct {
		client string
		after  time.Duration
		want   int
	}{
		{"192.0.2.1", 99 * time.Millisecond, 0},
		{"192.0.2.1", 100 * time.Millisecond, 1},
		{"192.0.2.1", 600 * time.Millisecond, 5},
		{"::ffff:192.0.2.1", 600 * time.Millisecond, 0},
		{"192.0.2.2", 600 * time.Millisecond, 21},
		{"2001:db8::1", time.Second, 21},
		{"2001:db8::ffff:1", time.Second, 0}, // the same /64
		{"2001:db8:0:1::1", time.Second, 21},
		{"", time.Second, 21},
		{"", time.Second, 0},
		{"192.0.2.1", time.Minute, 21},
	} {
		if got, _ := rateAsk(judge, tt.client, now.Add(tt.after), 30); got != tt.want {
			t.Errorf("%s after %v: %d passed, want %d", tt.client, tt.after, got, tt.want)
		}
	}
	if got, _ := rateAsk(rateJudge(t, st), "192.0.2.1", now.Add(time.Minute), 30); got != 0 {
		t.Errorf("a reload let %d more pass", got)
	}
}

func TestRateRaisesOneEventASecond(t *testing.T) {
	judge := rateJudge(t, &edge.State{})
	now := time.Now()
	events := 0
	for i := range 1000 { // over 5 s, ten times as fast as allowed
		for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
			if r := judge(&edge.Visit{Client: netip.MustParseAddr(client), Now: now.Add(time.Duration(i) * 5 * time.Millisecond)}); r != nil && r.Kind != "" {
				events++
			}
		}
	}
	if events < 8 || events > 10 {
		t.Errorf("%d events of two clients in 5 s", events)
	}
}

// TestRateIsNginxs sends 100 requests at once to a real nginx with the same
// limit: as many must be served there.
func TestRateIsNginxs(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	address := porttest.Address(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	content := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
events {}
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  limit_req_zone $binary_remote_addr zone=a:10m rate=10r/s;
  limit_req_status 429;
  server { listen %[2]s; location / { limit_req zone=a burst=20 nodelay; try_files /none =404; } }
}
`, dir, address)
	if err := os.WriteFile(conf, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", conf)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var conn net.Conn
	for deadline := time.Now().Add(10 * time.Second); ; {
		if conn, err = net.Dial("tcp", address); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Skipf("nginx does not listen: %v", err)
		}
	}
	defer conn.Close()
	began := time.Now()
	go io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100))
	r := bufio.NewReader(conn)
	theirs := 0
	for range 100 {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusTooManyRequests {
			theirs++
		}
	}
	took := time.Since(began)
	if took >= 100*time.Millisecond {
		t.Skipf("nginx took %v, and its rate refilled meanwhile", took)
	}
	ours, _ := rateAsk(rateJudge(t, &edge.State{}), "192.0.2.1", time.Now(), 100)
	if theirs != ours {
		t.Errorf("of 100 at once nginx serves %d, this %d", theirs, ours)
	}
}
