# The image of a town: townd, git and the agent programs. Everything a town keeps
# is in the volume /workspace.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /townd ./cmd/townd

# The versions that the tests ran with.
FROM node:22-bookworm-slim AS clis
COPY .tools/clis/package.json .tools/clis/package-lock.json .tools/clis/install /opt/clis/
RUN /opt/clis/install && chmod -R a+rX /opt/clis

FROM node:22-bookworm-slim
RUN apt-get update -qq \
  && apt-get install -y -qq --no-install-recommends ca-certificates git git-lfs openssh-client >/dev/null \
  && rm -rf /var/lib/apt/lists/*
COPY --from=clis /opt/clis /opt/clis
RUN cd /opt/clis/node_modules/.bin && ln -s "$PWD/claude" "$PWD/codex" "$PWD/gemini" "$PWD/kilo" "$PWD/opencode" /usr/local/bin/
COPY --from=build /townd /usr/local/bin/townd
# The disk of a container may be lost with it: what agents have not committed goes to their remote, too.
ENV TOWND_HOME=/workspace TOWND_LISTEN=0.0.0.0:8080 TOWND_PUSH_CHECKPOINTS=true
VOLUME /workspace
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["townd", "health"]
# Process 1 owns the agents' terminals and starts a server that died again.
ENTRYPOINT ["townd", "keeper", "--", "townd", "serve"]
