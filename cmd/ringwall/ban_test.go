package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdFrom asks $URL from a loopback address: from ADDRESS WANT METHOD PATH
// [BODY]. WANT is a status, or dropped: there was no TLS, or hangup: there was no
// answer.
func cmdFrom(ts *testscript.TestScript, _ bool, args []string) {
	body := ""
	if len(args) > 4 {
		body = args[4]
	}
	got, err := askFrom(args[0], strings.TrimPrefix(ts.Getenv("URL"), "https://"), args[2], args[3], body)
	if got != args[1] {
		ts.Fatalf("%s %s from %s: %s (%v), want %s", args[2], args[3], args[0], got, err, args[1])
	}
}

// cmdAttack asks $URL from a loopback address for each path, and is hung up on:
// attack ADDRESS PATH ... The connections are there before the first request, as
// points towards a ban are forgotten while handshakes are made.
func cmdAttack(ts *testscript.TestScript, _ bool, args []string) {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(ts.Getenv("URL"), "https://"))
	ts.Check(err)
	var conns []net.Conn
	for range args[1:] {
		d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(args[0])}, Timeout: patience},
			Config: &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}}
		c, err := d.Dial("tcp", "127.0.0.1:"+port)
		ts.Check(err)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		conns = append(conns, c)
	}
	for i, path := range args[1:] {
		_, err := io.WriteString(conns[i], "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		ts.Check(err)
		if b, err := io.ReadAll(conns[i]); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			ts.Fatalf("%s from %s: %q, %v, want the end", path, args[0], b, err)
		}
	}
}

func askFrom(address, at, method, path, body string) (string, error) {
	gone := func(err error, what string) (string, error) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return what, err
		}
		return "error", err
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		return "error", err
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	raw, err := d.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return gone(err, "dropped")
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	c := tls.Client(raw, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) // who answers is not in question
	if err := c.Handshake(); err != nil {
		return gone(err, "dropped")
	}
	req, err := http.NewRequest(method, "https://"+at+path, strings.NewReader(body))
	if err != nil {
		return "error", err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := req.Write(c); err != nil {
		return gone(err, "hangup")
	}
	res, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return gone(err, "hangup")
	}
	res.Body.Close()
	return strconv.Itoa(res.StatusCode), nil
}

func TestParseBanned(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128", "::ffff:192.0.2.1": "192.0.2.1/32",
		"198.51.100.0/24": "198.51.100.0/24", "198.51.100.1/24": "", "192.0.2": "", "": "", "fe80::1%eth0": "", "host": "",
		"192.0.2.1/33": "", "192.0.2.1 ": "", "all": "",
	} {
		p, err := parseBanned(text)
		if got := fmt.Sprint(p); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
}

// An operator under sudo has lost the variable that says where he comes from.
func TestTrapSSHClientUnderSudo(t *testing.T) {
	t.Setenv("SSH_CONNECTION", "198.51.100.7 51234 192.0.2.1 22")
	if got, sure := sshClientIn(t.TempDir(), os.Getpid(), os.Environ()); got.String() != "198.51.100.7" || sure {
		t.Errorf("got %s", got)
	}
	if _, parent, err := processIn("/proc", os.Getpid()); err != nil || parent != os.Getppid() {
		t.Errorf("parent %d, %v; want %d", parent, err, os.Getppid())
	}
	if _, _, err := processIn("/proc", 0); err == nil {
		t.Error("process 0 has a parent")
	}
}

// TestSSHClient: what sshd itself told is sure; what a multiplexer has from the session
// that started it is not, and neither has a say once sshd is above.
func TestSSHClient(t *testing.T) {
	const old, now = "SSH_CONNECTION=192.0.2.1 1 192.0.2.9 22", "A=b\x00SSH_CONNECTION=198.51.100.7 2 192.0.2.9 22\x00"
	type above struct{ name, environ string }
	for _, tt := range []struct {
		name  string
		own   string
		chain []above // from the process itself upwards
		want  string
		sure  bool
	}{
		{"over SSH, by sudo", "A=b", []above{{"ringwall", ""}, {"sudo", now}, {"a) (b", now}, {"sshd-session", ""}, {"sshd", ""}}, "198.51.100.7", true},
		{"an environment that was kept", old, []above{{"ringwall", ""}, {"bash", now}, {"sshd", ""}}, "198.51.100.7", true},
		{"in tmux", old, []above{{"ringwall", ""}, {"bash", old}, {"tmux: server", old}, {"systemd", ""}}, "192.0.2.1", false},
		{"where sshd was begun by hand", "A=b", []above{{"ringwall", ""}, {"bash", ""}, {"sshd", old}, {"bash", old}}, "invalid IP", false},
		{"at the console", "A=b", []above{{"ringwall", ""}, {"bash", ""}, {"login", ""}}, "invalid IP", false},
	} {
		proc := t.TempDir()
		for i, p := range tt.chain {
			folder := filepath.Join(proc, strconv.Itoa(100-i))
			parent := 100 - i - 1
			if i == len(tt.chain)-1 {
				parent = 0
			}
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"stat": fmt.Sprintf("%d (%s) S %d 1 1 0", 100-i, p.name, parent), "environ": p.environ} {
				if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, sure := sshClientIn(proc, 100, []string{tt.own}); got.String() != tt.want || sure != tt.sure {
			t.Errorf("%s: %s, %v; want %s, %v", tt.name, got, sure, tt.want, tt.sure)
		}
	}
}
