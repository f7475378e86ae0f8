package edge

import (
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestAnswersArriveWhileTheClientWrites closes as a server does that has lost
// patience with a body: its reads have a deadline that is over.
func TestAnswersArriveWhileTheClientWrites(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			plain, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			l := linger(plain)
			defer l.Close()
			client, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(client, "the first part"); err != nil {
				t.Fatal(err)
			}
			_ = server.SetReadDeadline(time.Unix(1, 0))
			if _, err := io.WriteString(server, "an answer"); err != nil {
				t.Fatal(err)
			}
			closed := time.Now()
			server.Close()
			for range 5 {
				time.Sleep(20 * time.Millisecond)
				_, err := io.WriteString(client, "and what follows")
				if late := time.Since(closed); late >= lingerTime { // this machine has other work
					t.Skipf("only %v later the client wrote", late)
				}
				if err != nil {
					t.Fatalf("a write within the time that is left to the client: %v", err)
				}
			}
			if answer, err := io.ReadAll(client); string(answer) != "an answer" || err != nil && time.Since(closed) < lingerTime {
				t.Errorf("%q and %v", answer, err)
			}
		})
	}
}
