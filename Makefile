# What people and CI do with scwatch. `make help` lists it.

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
REVISION    ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
IMAGE       ?= scwatch:$(VERSION)
# The OCI format has no health check; docker's has.
BUILDER     ?= $(shell command -v buildah >/dev/null && echo 'buildah build --format docker' || echo 'docker build')

info    := github.com/prometheus/common/version
ldflags := -s -w -X $(info).Version=$(VERSION) -X $(info).Revision=$(REVISION)

.PHONY: help build test lint fmt generate check bench image

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/scwatch, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(ldflags)' -o bin/scwatch ./cmd/scwatch

test: ## all tests, with the race detector; installs the Debian packages that they run
	.ci/packages
	$(GO) test -race ./...

lint: ## formatting, vet, staticcheck, a tidy go.mod
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted; run make fmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff

fmt: ## format the code
	gofmt -w .

generate: ## write the reference pages and golden files anew, from the code's own tables
	SCWATCH_UPDATE=1 $(GO) test ./...

check: lint build test ## everything that CI runs; a generated file that differs fails a test

bench: ## the benchmarks of docs/benchmarks.md
	$(GO) test -run '^$$' -bench . -benchmem ./...

image: ## the container image, by buildah or docker
	$(BUILDER) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t $(IMAGE) .
