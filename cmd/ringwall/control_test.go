package main

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/internal/state"
)

func TestTrapControlSocketTakesItsWordsOnly(t *testing.T) {
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenControl(dir, &inheritance{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reloads := 0
	go serveControl(l, words{"reload": func(string) (string, error) {
		if reloads++; reloads > 1 {
			return "", errors.New("line 3: no such key")
		}
		return "done", nil
	}})
	if fi, err := os.Stat(dir.Path(controlSocket)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v; want mode 0600", fi.Mode(), err)
	}
	say := func(line string) string {
		c, err := net.Dial("unix", dir.Path(controlSocket))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, line)
		_ = c.(*net.UnixConn).CloseWrite()
		b, _ := io.ReadAll(c)
		return string(b)
	}
	for _, line := range []string{
		"POST /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\nreload\n",
		"GET /reload HTTP/1.1\n", "reload", "reload \n", "RELOAD\n", "stop\n", "\n", "", strings.Repeat("x", 100) + "\nreload\n",
	} {
		if got := say(line); strings.Contains(got, `"ok":true`) {
			t.Errorf("%q was answered %s", line, got)
		}
	}
	if reloads != 0 {
		t.Fatalf("%d reloads were asked for by none of them", reloads)
	}
	if out, err := askServer(string(dir), "reload"); err != nil || !out.OK {
		t.Errorf("reload: %+v, %v", out, err)
	}
	if out, err := askServer(string(dir), "reload"); err != nil || out.OK || out.Message != "line 3: no such key" {
		t.Errorf("a reload that fails: %+v, %v", out, err)
	}
	l.Close()
	if _, err := askServer(string(dir), "reload"); !errors.Is(err, errNoServer) {
		t.Errorf("no server: %v", err)
	}
}

func TestControlSocketPathThatIsTooLong(t *testing.T) {
	dir, err := state.Open(t.TempDir() + strings.Repeat("/abcdefghij", 10))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenControl(dir, &inheritance{}); err == nil || !strings.Contains(err.Error(), "RINGWALL_STATE") {
		t.Errorf("error %v, want one that says what to do", err)
	}
}
