# Every target does its own set-up; `make demo` and `make test` are all a newcomer needs.
export GOTOOLCHAIN = auto
FUZZTIME ?= 60s
LIBRARY = relay/player/dist/hls.min.js
PARSER = cmd/surgecast/conformance/node_modules/hls-parser/package.json

.PHONY: demo test sim prove fuzz lint bench build deps

demo: build
	bin/surgecast demo $(ARGS)

# Lint has vetted all of it.
test: deps lint
	go test -race -vet=off -timeout 9m ./...
	go test -vet=off -count=1 -run '^TestSimulation' ./cluster

# A pool on fake time and what happens to it by chance: SEEDS=1000, NODES=100, or SEED=7 for the trace of one.
sim:
	go test -count=1 -timeout 0 -v -run '^TestSimulation$$' ./cluster

# The long and real runs, which the tests enter only under this variable: under an hour in all. What takes a second
# is printed as it ends; what each test says, with its figures, is in bin/prove.json.
prove: deps lint build
	@.ci/deps unbound:unbound named:bind9 dnsviz:dnsviz ip:iproute2 nft:nftables \
	  gst-launch-1.0:gstreamer1.0-tools,gstreamer1.0-rtsp,gstreamer1.0-plugins-base,gstreamer1.0-plugins-good,gstreamer1.0-plugins-bad,gstreamer1.0-plugins-ugly,gstreamer1.0-libav
	SURGECAST_PROVE=1 go test -json -vet=off -count=1 -timeout 55m ./... | tee bin/prove.json | go run .ci/progress.go

# Each fuzz target for FUZZTIME.
fuzz:
	@set -e; for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
	  done; \
	done

lint:
	@unformatted=$$(go tool gofumpt -l .) && if [ -n "$$unformatted" ]; then \
	  echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

# Under 10 minutes; WHAT=nginx for one, WHAT='-rows tls nginx' for some lines of it.
bench: build
	@.ci/deps ffmpeg:ffmpeg nginx:nginx h2load:nghttp2-client dnsperf:dnsperf taskset:util-linux
	go run ./bench $(WHAT)

build: $(LIBRARY)
	go build -trimpath -o bin/surgecast ./cmd/surgecast

# What the tests run against, from Debian's packages; the race detector needs a C compiler.
deps: $(LIBRARY) $(PARSER)
	@.ci/deps gcc:gcc,libc6-dev ffmpeg:ffmpeg chromium:chromium dig:bind9-dnsutils systemd-socket-activate:systemd

# Not fatal when it cannot be had: the page then says what is missing.
$(LIBRARY): relay/player/library/package-lock.json relay/player/library/install
	@relay/player/library/install

# Nor is this: the conformance test then skips the line that needs it.
$(PARSER): cmd/surgecast/conformance/package-lock.json cmd/surgecast/conformance/install
	@cmd/surgecast/conformance/install
