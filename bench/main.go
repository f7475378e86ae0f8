// Command bench measures what a request costs, end to end over TLS: a bare
// net/http handler, and the same handler inside the rings with every control on
// and a caller signed in. The servers run as processes of their own, are loaded
// in turns by wrk on the same machine, and their CPU time is read from the
// kernel, so that the ratio holds on a noisy machine.
//
//	go run ./bench            # needs wrk; about 90 s
//	go run ./bench -rounds 5 -seconds 10
//	go run ./bench proxy      # as proxies in front of one API: those of nginx, haproxy and caddy that are installed, and this
//	go run ./bench -only nginx,ringwall -http2 proxy   # some of them, over HTTP/2; needs h2load
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) >= 4 && os.Args[1] == "serve" {
		if err := serve(os.Args[2], os.Args[3], os.Args[4:]); err != nil {
			log.Fatal("bench serve: ", err)
		}
		return
	}
	rounds := flag.Int("rounds", 3, "rounds; the servers take turns in each")
	seconds := flag.Int("seconds", 5, "seconds of load per server and round")
	conns := flag.Int("connections", 32, "connections held open by wrk")
	http2 := flag.Bool("http2", false, "load over HTTP/2 by h2load, 10 streams in each connection")
	only := flag.String("only", "", "names of the subjects to measure, by commas; all when empty")
	flag.Parse()
	if err := run(flag.Arg(0), *only, *http2, *rounds, *seconds, *conns); err != nil {
		log.Fatal("bench: ", err)
	}
}

// subjects in the order in which they take turns; ratios are to the first.
// The second differs from the first in what the collector counts as heap: the
// ring keeps an untouched 16 MB in reserve, and so does it. The third is the app
// ring as a program mounts it in a server of its own; the last is Ringwall as it
// ships, the edge with its own HTTP/1 server in front of the app ring.
var subjects = []string{"bare net/http", "same with a reserve", "ring under net/http", "whole Ringwall"}

type sample struct {
	cpu  float64 // microseconds of CPU a request
	rate float64 // requests a second
	p99  string
	rss  int // kB

	handshake  float64 // microseconds of CPU a full TLS handshake
	handshakes float64 // a second
}

func run(what, only string, http2 bool, rounds, seconds, conns int) error {
	tool, pkg := "wrk", "wrk"
	if http2 {
		tool, pkg = "h2load", "nghttp2-client"
	}
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%s is not installed: apt-get install %s", tool, pkg)
	}
	dir, err := os.MkdirTemp("", "ringwall-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's workers are another user
		return err
	}
	var subs []subject
	switch what {
	case "":
		if err := writeCertificate(dir); err != nil {
			return err
		}
		for _, name := range subjects {
			subs = append(subs, subject{name, func() (*server, error) { return start(name, dir) }})
		}
	case "proxy":
		var stop func()
		if subs, stop, err = proxies(dir); err != nil {
			return err
		}
		defer stop()
	default:
		return fmt.Errorf("there is no benchmark %q: say nothing, or proxy", what)
	}
	if only != "" {
		subs = slices.DeleteFunc(subs, func(s subject) bool { return !slices.Contains(strings.Split(only, ","), s.name) })
	}
	if len(subs) == 0 {
		return fmt.Errorf("nothing is called %s", only)
	}
	return compare(subs, tool, rounds, seconds, conns)
}

// A subject is one server to be measured.
type subject struct {
	name  string
	start func() (*server, error)
}

func compare(subs []subject, tool string, rounds, seconds, conns int) error {
	servers, samples := map[string]*server{}, map[string][]sample{}
	for _, sub := range subs {
		srv, err := sub.start()
		if err != nil {
			return err
		}
		defer srv.stop()
		if _, err := srv.load(tool, 1, conns); err != nil { // warm up
			return fmt.Errorf("%s: %w", sub.name, err)
		}
		servers[sub.name] = srv
	}
	for round := range rounds {
		for _, sub := range subs {
			s, err := servers[sub.name].load(tool, seconds, conns)
			if err != nil {
				return fmt.Errorf("%s: %w", sub.name, err)
			}
			if s.handshake, s.handshakes, err = servers[sub.name].handshakes(time.Second); err != nil {
				return fmt.Errorf("%s: %w", sub.name, err)
			}
			samples[sub.name] = append(samples[sub.name], s)
			fmt.Fprintf(os.Stderr, "round %d  %-22s %6.1f us CPU  %7.0f req/s  p99 %s\n", round+1, sub.name, s.cpu, s.rate, s.p99)
		}
	}
	fmt.Printf("%-22s %10s %10s %8s %10s %8s %13s %9s\n", "", "us CPU/req", "req/s", "p99", "memory", "ratio", "us CPU/shake", "shakes/s")
	base := median(samples[subs[0].name], func(s sample) float64 { return s.cpu })
	for _, sub := range subs {
		of := samples[sub.name]
		cpu := median(of, func(s sample) float64 { return s.cpu })
		last := of[len(of)-1]
		fmt.Printf("%-22s %10.1f %10.0f %8s %7d MB %7.2fx %13.0f %9.0f\n", sub.name, cpu,
			median(of, func(s sample) float64 { return s.rate }), last.p99, last.rss/1000, cpu/base,
			median(of, func(s sample) float64 { return s.handshake }), median(of, func(s sample) float64 { return s.handshakes }))
	}
	return nil
}

func median(s []sample, f func(sample) float64) float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = f(s[i])
	}
	slices.Sort(v)
	return v[len(v)/2]
}

type server struct {
	cmd        *exec.Cmd
	stdin      io.Closer // closing it ends the server; nil: a signal does
	url, token string
}

// start runs this program again as one of the subjects. The child prints its
// URL and a token, and ends when its standard input does.
func start(name, dir string, more ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"serve", name, filepath.Join(dir, strings.Fields(name)[0]+".log")}, more...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s did not start: %w", name, err)
	}
	f := strings.Fields(line)
	if f[1] == "none" {
		f[1] = ""
	}
	return &server{cmd: cmd, stdin: stdin, url: f[0], token: f[1]}, nil
}

func (s *server) stop() {
	if s.stdin != nil {
		s.stdin.Close()
	} else {
		s.cmd.Process.Signal(syscall.SIGTERM)
	}
	s.cmd.Wait()
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in|(\d+) succeeded`)
	rateLine     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)|([\d.]+) req/s,`)
	p99Line      = regexp.MustCompile(`99%\s+(\d\S+)`)
	badLine      = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)|[1-9]\d* failed|\b0 2xx,.*`)
)

func (s *server) load(tool string, seconds, conns int) (sample, error) {
	before, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	var out bytes.Buffer
	args := []string{"-t1", "-c" + strconv.Itoa(conns), "-d" + strconv.Itoa(seconds) + "s", "--latency", s.url}
	if tool == "h2load" {
		args = []string{"-t1", "-c" + strconv.Itoa(conns), "-m10", "-D" + strconv.Itoa(seconds) + "s", s.url}
	}
	if s.token != "" {
		args = append(args, "-H", "Authorization: Bearer "+s.token)
	}
	load := exec.Command(tool, args...)
	load.Stdout, load.Stderr = &out, os.Stderr
	if err := load.Run(); err != nil {
		return sample{}, err
	}
	after, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	if bad := badLine.FindString(out.String()); bad != "" {
		return sample{}, fmt.Errorf("the load did not get good answers: %s", bad)
	}
	n, err := strconv.Atoi(group(requestsLine, out.String()))
	if err != nil || n == 0 {
		return sample{}, fmt.Errorf("%s reported no requests:\n%s", tool, out.String())
	}
	rate, _ := strconv.ParseFloat(group(rateLine, out.String()), 64)
	return sample{
		cpu:  float64((after - before).Microseconds()) / float64(n),
		rate: rate, p99: group(p99Line, out.String()), rss: rss(s.cmd.Process.Pid),
	}, nil
}

func group(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return cmp.Or(m[1:]...)
	}
	return ""
}

// cpuTime is the user and system time of a process and its children, from
// proc(5), stat fields 14 and 15, in ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	sum, err := ownTime(pid)
	for _, child := range children(pid) {
		d, cerr := cpuTime(child)
		sum, err = sum+d, errors.Join(err, cerr)
	}
	return sum, err
}

func children(pid int) (out []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func ownTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// rss is the resident memory of a process and its children, in kB.
func rss(pid int) (sum int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			sum, _ = strconv.Atoi(f[1])
		}
	}
	for _, child := range children(pid) {
		sum += rss(child)
	}
	return sum
}

// handshakes makes full TLS handshakes for a while, and returns what one costs
// the server, in microseconds of CPU, and how many there were a second. The four
// clients that make them are on the same machine.
func (s *server) handshakes(d time.Duration) (cost, rate float64, err error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return 0, 0, err
	}
	before, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	var n atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range 4 {
		all.Go(func() {
			for time.Now().Before(end) {
				// The certificate is made for this run, and not what is measured.
				c, err := tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()})
				if err != nil {
					return
				}
				c.Close()
				n.Add(1)
			}
		})
	}
	all.Wait()
	if n.Load() == 0 {
		return 0, 0, errors.New("no handshake succeeded")
	}
	after, err := cpuTime(s.cmd.Process.Pid)
	return float64((after - before).Microseconds()) / float64(n.Load()), float64(n.Load()) / d.Seconds(), err
}
