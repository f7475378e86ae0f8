//go:build linux

package loopback_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check/loopback"
)

func TestPort(t *testing.T) {
	for upstream, want := range map[string]int{
		"http://127.0.0.1:8000": 8000, "http://[::1]:3000": 3000, "http://localhost:1": 1, "http://127.9.9.9:80": 80,
		"http://192.0.2.1:8000": 0, "https://127.0.0.1:8000": 0, "h2c://127.0.0.1:8000": 0, "unix:/run/api": 0, "http://127.0.0.1": 0, "http://api:8000": 0, "::": 0,
	} {
		if port, ok := loopback.Port(upstream); port != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v", upstream, port, ok)
		}
	}
}

func TestLocal(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "192.0.2.1": false, "2001:db8::1": false, "nobody.invalid": false, "": false} {
		if loopback.Local(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if ip := a.(*net.IPNet).IP; !loopback.Local(ip.String()) {
			t.Errorf("%v is an address of this machine", ip)
		}
	}
}

// What the table's lines mean is proc(5)'s, and the lines were written by a
// kernel: 0.0.0.0:22 and a connection, then [::]:443 and [::1]:5432.
func TestListening(t *testing.T) {
	const four = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17381 1 0000000000000000 100 0 0 10 0
   1: 0100007F:8D2A 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 18877 1 0000000000000000 20 4 30 10 -1
`
	const six = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17383 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   112        0 20011 1 0000000000000000 100 0 0 10 0
`
	var got []string
	for _, table := range []string{four, six, ""} {
		sockets, err := loopback.Listening([]byte(table))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sockets {
			got = append(got, (&net.TCPAddr{IP: s.IP, Port: s.Port}).String()+" "+s.Inode)
		}
	}
	if s := strings.Join(got, ", "); s != "0.0.0.0:22 17381, [::]:443 17383, [::1]:5432 20011" {
		t.Error(s)
	}
	if _, err := loopback.Listening([]byte(strings.Replace(four, "00000000:0016", "0000:0016", 1))); err == nil {
		t.Error("an address of two bytes was read")
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if tap, err := loopback.NewTap(1); err != nil {
		if os.Getenv("CI") == "true" && os.Getuid() == 0 {
			t.Fatal(err)
		}
		t.Skip(err)
	} else {
		tap.Close()
	}
}

func listen(t *testing.T, address string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip(err) // no IPv6
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// A tap sees a real client's request to its port, over both families, and none
// to another port.
func TestTap(t *testing.T) {
	needRoot(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			port, other := listen(t, address), listen(t, address)
			ask := func(to int, mark string) {
				host, _, _ := net.SplitHostPort(address)
				r, _ := http.NewRequest("GET", "http://"+(&net.TCPAddr{IP: net.ParseIP(host), Port: to}).String()+"/x", nil)
				r.Header.Set("User-Agent", mark)
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
			}
			tap, err := loopback.NewTap(port)
			if err != nil {
				t.Fatal(err)
			}
			defer tap.Close()
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			ask(other, "mark-1")
			for range 300 { // what else there is does not fill the tap
				ask(other, strings.Repeat("much", 1000))
			}
			ask(port, "another")
			ask(port, "mark-1")
			got, err := tap.Request(ctx, "mark-1")
			if err != nil || !strings.HasPrefix(string(got), "GET /x HTTP/1.1\r\n") || !strings.Contains(string(got), "User-Agent: mark-1\r\n") {
				t.Errorf("%q, %v", got, err)
			}
			ask(other, "mark-2")
			short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer stop()
			if got, err := tap.Request(short, "mark-2"); err == nil {
				t.Errorf("a request to another port was seen: %q", got)
			}
		})
	}
}

func TestHolders(t *testing.T) {
	needRoot(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		if pids, err := loopback.Holders(listen(t, address)); err != nil || len(pids) != 1 || pids[0] != os.Getpid() {
			t.Errorf("%s: %v, %v", address, pids, err)
		}
	}
	if pids, err := loopback.Holders(1); err == nil {
		t.Errorf("port 1 is held by %v", pids)
	}
}

// state is the letter of a process (proc(5), stat field 3).
func state(t *testing.T, pid string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return string(b[strings.LastIndexByte(string(b), ')')+2])
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

func wait(t *testing.T, pid, want string, most time.Duration) {
	t.Helper()
	for end := time.Now().Add(most); state(t, pid) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %s is %s after %v, want %s", pid, state(t, pid), most, want)
		}
	}
}
