package ringwall_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ringwall/ringwall/audit"
)

// grpcAPI is a gRPC server that answers as gRPC's own tests of interoperability
// want it (grpc/doc/interop-test-descriptions.md).
type grpcAPI struct {
	testpb.UnimplementedTestServiceServer
	gone chan error // why a stream that waits for its client has ended
}

func (s *grpcAPI) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	in, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-seen-user", strings.Join(in["x-ringwall-user"], "|")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "kept", "x-bytes-bin", "\x00\xff", "set-cookie", "a=b"))
	return &testpb.Empty{}, nil
}

func (s *grpcAPI) UnaryCall(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if want := in.ResponseStatus; want != nil && want.Code != 0 {
		return nil, status.Error(codes.Code(want.Code), want.Message)
	}
	return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, in.ResponseSize)}}, nil
}

func (s *grpcAPI) StreamingInputCall(in grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	n := 0
	for {
		m, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(n)})
		}
		if err != nil {
			return err
		}
		n += len(m.Payload.Body)
	}
}

func (s *grpcAPI) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, out grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	for _, p := range in.ResponseParameters {
		if err := out.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, p.Size)}}); err != nil {
			return err
		}
	}
	if len(in.ResponseParameters) == 1 { // and now it waits
		<-out.Context().Done()
		s.gone <- out.Context().Err()
	}
	return nil
}

func (s *grpcAPI) FullDuplexCall(both grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		m, err := both.Recv()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := both.Send(&testpb.StreamingOutputCallResponse{Payload: m.Payload}); err != nil {
			return err
		}
	}
}

const grpcRules = `
edge:
  health: {path: /grpc.health.v1.Health/Check, every: 1s}
  timeouts: {stream: 1s}
app:
  body: 10MB
  routes:
    - {path: /grpc.testing.TestService/UnimplementedCall, allow: [signed-in], content_types: [application/grpc]}
    - {path: /grpc.testing.TestService/StreamingInputCall, allow: [anyone], content_types: [application/grpc], body: 1kB}
    - {path: /grpc.testing.TestService/, allow: [anyone], content_types: [application/grpc]}
    - {path: /, allow: [anyone]}
`

// grpcInFront runs the API behind a server, and returns a client of it.
func grpcInFront(t *testing.T) (testpb.TestServiceClient, *grpcAPI, *running, *recorder) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	api := &grpcAPI{gone: make(chan error, 1)}
	up := grpc.NewServer()
	testpb.RegisterTestServiceServer(up, api)
	healthpb.RegisterHealthServer(up, health.NewServer())
	go func() { _ = up.Serve(l) }()
	t.Cleanup(up.Stop)

	s := newSite(t)
	deps, events := quiet()
	yaml := strings.Replace(grpcRules, "edge:\n", "edge:\n  rate: {burst: 90000}\n  listen: \"127.0.0.1:0\"\n  redirect: \"127.0.0.1:0\"\n  tls: {cert: site.pem, key: site.key}\n", 1)
	r := start(t, s, s.policy(t, "site: localhost\nupstream: h2c://"+l.Addr().String()+yaml), nil, deps)
	conn, err := grpc.NewClient(r.Addresses().HTTPS, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(s.roots, "localhost")), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return testpb.NewTestServiceClient(conn), api, r, events
}

// TestGRPC: a real client of a real server notices nothing of what stands
// between.
func TestGRPC(t *testing.T) {
	c, api, r, events := grpcInFront(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	t.Run("metadata", func(t *testing.T) {
		var head, trail metadata.MD
		forged := metadata.AppendToOutgoingContext(ctx, "x-ringwall-user", "root")
		if _, err := c.EmptyCall(forged, &testpb.Empty{}, grpc.Header(&head), grpc.Trailer(&trail)); err != nil {
			t.Fatal(err)
		}
		if got := head["x-seen-user"]; len(got) != 1 || got[0] != "" {
			t.Errorf("the API was told of the user %q", got)
		}
		if got := trail["x-trailer"]; len(got) != 1 || got[0] != "kept" || trail["x-bytes-bin"][0] != "\x00\xff" {
			t.Errorf("trailers %v", trail)
		}
		if trail["set-cookie"] != nil {
			t.Errorf("trailers %v", trail)
		}
	})
	t.Run("unary", func(t *testing.T) {
		out, err := c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: 3_000_000, Payload: &testpb.Payload{Body: make([]byte, 2_000_000)}})
		if err != nil || len(out.Payload.Body) != 3_000_000 {
			t.Errorf("%v", err)
		}
	})
	t.Run("status", func(t *testing.T) {
		const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
		_, err := c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: 9, Message: message}})
		if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != message {
			t.Errorf("%v", err)
		}
		h, err := c.HalfDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Recv(); status.Code(err) != codes.Unimplemented { // of an answer that is trailers alone
			t.Errorf("%v", err)
		}
	})
	t.Run("client streams", func(t *testing.T) {
		s, err := c.StreamingInputCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := s.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: make([]byte, 100)}}); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := s.CloseAndRecv(); err != nil || out.AggregatedPayloadSize != 300 {
			t.Errorf("%v %v", out, err)
		}
	})
	t.Run("server streams", func(t *testing.T) {
		s, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 31415}, {Size: 9}, {Size: 2653}, {Size: 58979}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{31415, 9, 2653, 58979} {
			if m, err := s.Recv(); err != nil || len(m.Payload.Body) != want {
				t.Fatal(err)
			}
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("both stream", func(t *testing.T) {
		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 { // each waits for the one before
			body := fmt.Appendf(nil, "ping %d", i)
			if err := s.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: body}}); err != nil {
				t.Fatal(err)
			}
			if m, err := s.Recv(); err != nil || !bytes.Equal(m.Payload.Body, body) {
				t.Fatal(err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Error(err)
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("a client that leaves", func(t *testing.T) {
		one, leave := context.WithCancel(ctx)
		s, err := c.StreamingOutputCall(one, &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		leave()
		select {
		case <-api.gone:
		case <-ctx.Done():
			t.Error("the API was not told")
		}
	})
	t.Run("an API that is silent", func(t *testing.T) {
		s, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err == nil || err == io.EOF {
			t.Errorf("after edge.timeouts.stream: %v", err)
		}
		<-api.gone
	})
	t.Run("refusals", func(t *testing.T) {
		if _, err := c.UnimplementedCall(ctx, &testpb.Empty{}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a route for callers: %v", err)
		}
		s, err := c.StreamingInputCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: make([]byte, 5000)}})
		if _, err := s.CloseAndRecv(); err == nil {
			t.Error("a stream over its route's body has passed")
		}
	})
	if res := r.get(t, "https://"+r.Addresses().HTTPS+"/readyz"); res.StatusCode != 200 {
		t.Errorf("not ready: %d", res.StatusCode)
	}
	for _, k := range events.kinds() {
		if k == audit.UpstreamDown {
			t.Error("gRPC's own health check was not understood")
		}
	}
}
