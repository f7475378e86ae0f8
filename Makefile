# Verbs: run, man, test, quick, servers, fuzz, lint, bench. Everything else is the go command.
GO ?= go

.PHONY: run build man test quick servers fuzz lint bench

run: build                  ## https://localhost:8443 with the notes API behind it
	exec bin/ringwall serve --dev

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ringwall ./cmd/ringwall

man: build                  ## manual pages in bin/man
	bin/ringwall man bin/man

test:                       ## all tests; with CI=true fuzzing too, and a missing tool is a failure
	test/packages.sh
	$(GO) vet ./...
	GO="$(GO)" test/all.sh
	$(GO) test -v -run TestEveryCheckIsSabotaged ./cmd/ringwall | sed -n 's/^ *check_proof_test.go:[0-9]*: //p'
	if [ "$$CI" = true ]; then test/fuzz.sh 10s; fi

quick:                      ## the inner loop, in a minute: no race detector, no processes of our own, no long waits
	$(GO) vet ./...
	$(GO) test -short ./...

servers:                    ## all tests on booted Debian and Ubuntu servers, however long; root
	test/packages.sh
	$(GO) test -v -parallel 2 -timeout 120m ./test/vps

fuzz:                       ## every fuzz target, for a quarter of an hour or so
	test/fuzz.sh 60s 20s

lint:
	test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

bench:                      ## figures for docs/benchmarks.md; needs wrk
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...
	$(GO) run ./bench
