# RiskProfiler. `make` alone prints this help.
SHELL := /bin/bash
.DEFAULT_GOAL := help

MODULES := . gen platform services/ingest services/scheduler services/scanner services/correlator services/reporter services/gateway
PACKAGES := $(foreach m,$(MODULES),./$(if $(filter .,$(m)),...,$(m)/...))
# All but the whole-system tests, which take minutes.
UNITS := $(filter-out ./...,$(PACKAGES)) ./cmd/... ./lab/...
BIN := bin/riskprofiler
OUT := out
export CGO_ENABLED ?= 0

.PHONY: help
help: ## Print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build the command and the services into bin/
	@mkdir -p bin
	go build -trimpath -o $(BIN) ./cmd/riskprofiler
	@for s in ingest scheduler scanner correlator reporter gateway; do go build -trimpath -o bin/$$s ./services/$$s/cmd/$$s || exit 1; done

# On a machine that has compiled nothing yet the build is most of the wait for the first result: without inlining and debug information
# it takes about half the time. `make build` makes the fast binary.
QUICK = -ldflags='-s -w' -gcflags=all='-l -dwarf=false'

.PHONY: command
command:
	@mkdir -p bin $(OUT)
	@echo "building the command (the first time takes a minute or two) ..." >&2
	@GOGC=200 go build -trimpath $(QUICK) -o $(BIN) ./cmd/riskprofiler

.PHONY: run
run: command ## Assess the lab, or yours with TARGET=example.com: ranked risks here, the whole report as HTML
ifdef TARGET
	@$(BIN) assess $(TARGET) --report-file $(OUT)/report.html
else
	@$(BIN) lab --assess --report-file $(OUT)/report.html
endif

# Both halves of the tests; CI runs them beside each other, because the second mostly waits.
ONLY ?= units system
TESTS_units := $(UNITS)
TESTS_system := ./test/...

.PHONY: test
test: ## Run every test of the workspace, or with ONLY=units or ONLY=system a half
	go test -timeout 30m $(FLAGS) $(foreach half,$(ONLY),$(TESTS_$(half)))

# SQLite is C made into Go: its memory is none of Go's, which the race detector would look up in vain at every access.
RACE := -race -short -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false

.PHONY: race
race: ## Run every test with the race detector, with -short (needs a C compiler)
	CGO_ENABLED=1 go test $(RACE) -timeout 30m $(UNITS)

.PHONY: scenario
scenario: ## Run the whole-system tests: both legs of the scenario, tenants, traces, 200 kills, hostile targets
	RISKPROFILER_KILLS=$${RISKPROFILER_KILLS:-200} $(MAKE) --no-print-directory test ONLY=system FLAGS=-count=1

.PHONY: load
load: ## Simulate a thousand plans due at once, and an hour with faults: waits, losses, calls and their price
	RISKPROFILER_LOAD=full go test -count=1 -timeout 30m -v -run 'TestBurst|TestStorm' ./test/load

.PHONY: test-aws
test-aws: ## Run every test against servers that stand in for AWS (needs Python 3, Java 17, Maven and Node; installs moto and ElasticMQ)
	tools/standins.sh
	@# moto answers one request at a time, so the queue's suite, the longest, has a process of its own beside the others.
	go test -count=1 -timeout 30m -tags awstest ./platform/queue/sqsqueue & queue=$$!; \
	go test -count=1 -timeout 30m -tags awstest $$(tools/tagged.sh awstest | grep -v sqsqueue) || { kill $$queue 2>/dev/null; exit 1; }; wait $$queue

.PHONY: fuzz
fuzz: ## Run every fuzz target for a minute (FUZZTIME=60s), 24 at a time
	tools/fuzz.sh

.PHONY: test-real
test-real: ## Compare the scan types with real servers and other scanners (installs Debian packages; needs root on Debian 12)
	tools/realservers.sh
	go test -count=1 -timeout 30m -tags realservers ./test/real/...

.PHONY: bench
bench: ## Run the benchmarks, each with its floor beside it, and print the ratios
	go test -run '^$$' -bench . -benchtime 40000x -count 3 ./test/speed
	go test -run '^$$' -bench ColdStart -benchtime 1x -timeout 30m ./test/aws
	cd services/scanner && go test -run '^$$' -bench PortScan -benchtime 3x ./probes/port
	cd services/scanner && go test -run '^$$' -bench Scan -benchtime 10x ./probes/tls
	cd services/scanner && go test -run '^$$' -bench 'UDP|BenchmarkLoad|BenchmarkOf' -benchtime 500x ./probes/port ./probes/ranges
	cd services/scanner && go test -run '^$$' -bench 'Names|Scan' -benchtime 2s ./probes/dns
	cd services/scanner && go test -run '^$$' -bench Service -benchtime 1s ./probes/service
	cd services/scanner && go test -run '^$$' -bench 'Scan|Technologies|Fingerprints' -benchtime 2s ./probes/http
	cd services/correlator && go test -run '^$$' -bench 'FeedToAlert|Match|CostUnit' -benchtime 20x .
	cd services/ingest && go test -run '^$$' -bench 'Bombs|Report' -benchtime 1x ./imports
	cd platform && go test -run '^$$' -bench . -benchtime 1s ./wire ./table/sqlitetable ./queue/sqlitequeue ./ratelimit

.PHONY: gen
gen: ## Generate code from the contracts
	tools/build.sh buf protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway protoc-gen-openapiv2
	.tools/bin/buf generate

.PHONY: lint
lint: ## Lint code and contracts, check formatting, generated code and modules
	tools/lint.sh

.PHONY: tidy
tidy: ## Tidy every module
	@for m in $(MODULES) tools deploy; do (cd $$m && GOWORK=off go mod tidy) || exit 1; done

.PHONY: alone
alone: ## Build each service alone, outside of the workspace
	@for m in $(MODULES); do echo "$$m"; (cd $$m && GOWORK=off go build ./... && GOWORK=off go vet ./...) || exit 1; done

# The binaries of containers: AWS drivers for the services, embedded ones for the whole platform in one process.
IMAGE_ARCH ?= $(shell go env GOARCH)
IMAGE_VERSION ?= 0.1.0
IMAGE_REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
IMAGE_BUILD = CGO_ENABLED=0 GOOS=linux GOARCH=$(IMAGE_ARCH) go build -trimpath -buildvcs=false -ldflags '-s -w'
SERVICES := ingest scheduler scanner correlator reporter gateway
SCANNERS := $(notdir $(wildcard services/scanner/cmd/scanner-*))

.PHONY: container-binaries
container-binaries:
	@rm -rf bin/container && mkdir -p bin/container
	@$(IMAGE_BUILD) -tags aws,lambda.norpc,grpcnotrace -o bin/container/ $(foreach s,$(SERVICES),./services/$(s)/cmd/$(s)) $(foreach s,$(SCANNERS),./services/scanner/cmd/$(s)) ./cmd/standins
	@$(IMAGE_BUILD) -o bin/container/riskprofiler ./cmd/riskprofiler

.PHONY: images
images: container-binaries ## Build container images from scratch into out/images (no engine needed; IMAGE_ARCH=arm64 for Graviton)
	cd tools/image && GOWORK=off go run . --bin ../../bin/container --out ../../out/images --arch $(IMAGE_ARCH) --version $(IMAGE_VERSION) --revision "$(IMAGE_REVISION)"

.PHONY: test-images
test-images: ## Test the image builder, the compose file and the ECS template, and run an image's binary in an empty root
	cd tools/image && GOWORK=off go test -timeout 20m .

.PHONY: certs
certs: command ## Make certificates for services on this machine (compose) in deploy/compose/certs
	@$(BIN) certs --dir deploy/compose/certs

# What functions are deployed from: every binary for both architectures, each in an archive with equal bytes for equal content.
LAMBDA := bin/lambda
LAMBDA_BUILD = CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -tags aws,lambda.norpc,grpcnotrace -ldflags '-s -w'

.PHONY: lambda
lambda: ## Build the functions' binaries and archives for arm64 and amd64 into bin/lambda
	@list=$$(cd deploy && GOWORK=off go run ./cmd/pack) && for arch in arm64 amd64; do for f in $$list; do \
		mkdir -p $(LAMBDA)/$$arch/$${f#*/} && GOARCH=$$arch $(LAMBDA_BUILD) -o $(LAMBDA)/$$arch/$${f#*/}/bootstrap ./services/$${f%/*}/cmd/$${f#*/} || exit 1; \
	done; done
	cd deploy && GOWORK=off go run ./cmd/pack ../$(LAMBDA)

.PHONY: synth
synth: ## Check the deployment's stacks: tests, templates into out/cdk, cdk-nag (needs Node)
	cd deploy && GOWORK=off go test ./... && GOWORK=off go run . -placeholders -outdir ../out/cdk

.PHONY: vuln
vuln: ## Check for known vulnerabilities (needs the network for the vulnerability database)
	tools/build.sh govulncheck
	.tools/bin/govulncheck $(PACKAGES)

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin $(OUT)
