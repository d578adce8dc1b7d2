SHELL := bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := build
.PHONY: build run test lint bench generate pictures clis image image-test

TOOL := go tool -modfile=.tools/go.mod
# The race detector needs a C compiler; without one Go turns cgo off.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# A script of a folder with programs from npm; without them it is said and left out.
in-node = @if test -d $(1)/node_modules; then npm run --silent --prefix $(1) $(2); else echo 'skipped: npm run $(2) of $(1), which needs npm ci --prefix $(1)'; fi

# bin/townd, one static program
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/townd ./cmd/townd

# a town on this machine that takes a first bead to its merge, until Ctrl-C; CLI=claude,
# kilo, opencode, codex, gemini or demo says which agents
run: build
	bin/townd try $(if $(CLI),--cli '$(CLI)')

# every test, with the race detector where there is a C compiler
test:
	go test -json -shuffle=on $(RACE) -timeout 25m ./... | go run -C .tools ./gotest
	go test -C .tools -json ./gotest | go run -C .tools ./gotest
	$(call in-node,worker,test)

# what must hold before a change goes in
lint:
	@test -z "$$($(TOOL) gofumpt -l . .tools/gotest | tee /dev/stderr)" || { echo 'not gofumpt-ed: run $(TOOL) gofumpt -w .' >&2; exit 1; }
	go mod tidy -diff
	go fix -diff ./...
	$(TOOL) golangci-lint run ./...
	@dead=$$($(TOOL) deadcode -test ./...); test -z "$$dead" || { echo "$$dead" >&2; exit 1; }
	go test -run 'Imports|UpToDate' . ./cmd/townd ./coordinator/...
	$(call in-node,worker,lint)
	$(call in-node,container/ui,check)

# the figures of bench/README.md
bench:
	go run ./bench

# the generated pages of docs/, from the program itself
generate: build
	go test ./cmd/townd ./coordinator/townhall ./coordinator/tools -run UpToDate -update
	$(call in-node,worker,generate)
	$(call in-node,container/ui,build)

# the pictures of README.md and docs/, and the screens of docs/dashboard.md, from towns at
# work; needs chromium, tmux, .tools/clis/install and npm ci --prefix container/ui
pictures: build
	go run ./docs/picture bin/townd docs/try.svg
	go test ./container/ui/e2e -count=1 -run PicturesOfTheDocs -update

# the table of docs/clis.md, proven with every agent program; needs .tools/clis/install
clis:
	go test -C cmd/townd/e2e -run EveryCellOfTheTable -clis -parallel 2 -timeout 30m

# the container image, townd:latest; AGENT_CLIS chooses its agent programs
image:
	docker build $(DOCKER_BUILD_FLAGS) --build-arg VERSION=$(VERSION) $(if $(filter undefined,$(origin AGENT_CLIS)),,--build-arg AGENT_CLIS='$(AGENT_CLIS)') -t townd .

# what docs/container.md says of the image, proven in Docker; takes minutes
image-test:
	DOCKER_BUILD_FLAGS='$(DOCKER_BUILD_FLAGS)' deploy/image-test
