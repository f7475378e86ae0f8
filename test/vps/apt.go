//go:build linux

package vps

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// serveApt is a proxy for apt in the namespace outside, which keeps packages
// for the next run. It serves the mirrors of Debian and Ubuntu and nothing else.
func serveApt(t testing.TB, namespace, address string) error {
	l, err := ListenIn(namespace, address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(apt)}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return nil
}

func apt(w http.ResponseWriter, r *http.Request) {
	archive := r.URL.Hostname()
	if r.Method != http.MethodGet || !slices.Contains([]string{"deb.debian.org", "archive.ubuntu.com", "security.ubuntu.com"}, archive) {
		http.Error(w, "this proxy is for apt", http.StatusForbidden)
		return
	}
	// A package never changes under its name, and is another one in another archive.
	kept := ""
	if strings.HasSuffix(r.URL.Path, ".deb") {
		kept = filepath.Join(Cache(), "proxy", archive, filepath.Base(r.URL.Path))
		if f, err := os.Open(kept); err == nil {
			defer f.Close()
			_, _ = io.Copy(w, f)
			return
		}
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.String(), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if v := r.Header.Get("If-Modified-Since"); v != "" {
		req.Header.Set("If-Modified-Since", v)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	for _, name := range []string{"Content-Length", "Last-Modified", "Content-Type"} {
		if v := res.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(res.StatusCode)
	if kept == "" || res.StatusCode != http.StatusOK {
		_, _ = io.Copy(w, res.Body)
		return
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(kept), "half")
	if err != nil {
		return
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if n, err := io.Copy(io.MultiWriter(w, tmp), res.Body); err == nil && (res.ContentLength < 0 || n == res.ContentLength) {
		_ = os.Rename(tmp.Name(), kept)
	}
}

// ListenIn listens on an address of a network namespace.
func ListenIn(namespace, address string) (l net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is not given back to the others: it ends with this goroutine.
		runtime.LockOSThread()
		var f *os.File
		if f, err = os.Open("/run/netns/" + namespace); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			l, err = net.Listen("tcp", address)
		}
	}()
	<-done
	return l, err
}
