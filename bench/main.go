// Command bench measures what a request costs, end to end over TLS: a bare
// net/http handler, and the same handler inside the ring with every control on
// and a caller signed in. Both servers run as processes of their own, are loaded
// in turns by wrk on the same machine, and their CPU time is read from the
// kernel, so that the ratio holds on a noisy machine.
//
//	go run ./bench            # needs wrk; about 40 s
//	go run ./bench -rounds 5 -seconds 10
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		if err := serve(os.Args[2], os.Args[3]); err != nil {
			log.Fatal("bench serve: ", err)
		}
		return
	}
	rounds := flag.Int("rounds", 3, "rounds; the servers take turns in each")
	seconds := flag.Int("seconds", 5, "seconds of load per server and round")
	conns := flag.Int("connections", 32, "connections held open by wrk")
	flag.Parse()
	if err := run(*rounds, *seconds, *conns); err != nil {
		log.Fatal("bench: ", err)
	}
}

// subjects in the order in which they take turns; ratios are to the first.
var subjects = []string{"bare net/http", "ring, every control"}

type sample struct {
	cpu  float64 // microseconds of CPU a request
	rate float64 // requests a second
	p99  string
	rss  int // kB
}

func run(rounds, seconds, conns int) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is not installed: apt-get install wrk")
	}
	dir, err := os.MkdirTemp("", "ringwall-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	samples := map[string][]sample{}
	for _, name := range subjects {
		srv, err := start(name, dir)
		if err != nil {
			return err
		}
		defer srv.stop()
		if _, err := srv.load(1, conns); err != nil { // warm up
			return err
		}
		samples[name] = nil
		servers[name] = srv
	}
	for round := range rounds {
		for _, name := range subjects {
			s, err := servers[name].load(seconds, conns)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			samples[name] = append(samples[name], s)
			fmt.Fprintf(os.Stderr, "round %d  %-22s %6.1f us CPU  %7.0f req/s  p99 %s\n", round+1, name, s.cpu, s.rate, s.p99)
		}
	}
	fmt.Printf("%-22s %10s %10s %8s %10s %8s\n", "", "us CPU/req", "req/s", "p99", "memory", "ratio")
	base := median(samples[subjects[0]], func(s sample) float64 { return s.cpu })
	for _, name := range subjects {
		cpu := median(samples[name], func(s sample) float64 { return s.cpu })
		last := samples[name][len(samples[name])-1]
		fmt.Printf("%-22s %10.1f %10.0f %8s %7d MB %7.2fx\n", name, cpu,
			median(samples[name], func(s sample) float64 { return s.rate }), last.p99, last.rss/1000, cpu/base)
	}
	return nil
}

var servers = map[string]*server{}

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
	stdin      io.Closer // closing it ends the server
	url, token string
}

// start runs this program again as one of the subjects. The child prints its
// URL and a token, and ends when its standard input does.
func start(name, dir string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "serve", name, filepath.Join(dir, strings.Fields(name)[0]+".log"))
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
	return &server{cmd: cmd, stdin: stdin, url: f[0], token: f[1]}, nil
}

func (s *server) stop() {
	s.stdin.Close()
	s.cmd.Wait()
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in`)
	rateLine     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	p99Line      = regexp.MustCompile(`99%\s+(\S+)`)
	badLine      = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)`)
)

func (s *server) load(seconds, conns int) (sample, error) {
	before, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	var out bytes.Buffer
	wrk := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(conns), "-d"+strconv.Itoa(seconds)+"s", "--latency",
		"-H", "Authorization: Bearer "+s.token, s.url)
	wrk.Stdout, wrk.Stderr = &out, os.Stderr
	if err := wrk.Run(); err != nil {
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
		return sample{}, fmt.Errorf("wrk reported no requests:\n%s", out.String())
	}
	rate, _ := strconv.ParseFloat(group(rateLine, out.String()), 64)
	return sample{
		cpu:  float64((after - before).Microseconds()) / float64(n),
		rate: rate, p99: group(p99Line, out.String()), rss: rss(s.cmd.Process.Pid),
	}, nil
}

func group(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// cpuTime is the user and system time of a process, from proc(5), stat fields
// 14 and 15, in ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

func rss(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}
