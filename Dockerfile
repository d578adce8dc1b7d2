# The image of a town: townd, git and the agent programs. All that a town keeps
# is in the volume /workspace. `docs/container.md` tells how it is run.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /townd ./cmd/townd

# The agents' programs in the versions that the tests ran with. AGENT_CLIS names some
# of claude, codex, gemini, kilo and opencode; empty for none.
FROM node:22-bookworm-slim AS clis
ARG AGENT_CLIS="kilo claude"
COPY .tools/clis/package.json .tools/clis/package-lock.json .tools/clis/install /opt/clis/
RUN mkdir /opt/clis/bin \
  && if [ -n "$AGENT_CLIS" ]; then \
    /opt/clis/install $AGENT_CLIS \
    && for cli in $AGENT_CLIS; do ln -s "../node_modules/.bin/$cli" "/opt/clis/bin/$cli"; done; \
  fi \
  && rm -rf /opt/clis/install /opt/clis/package.json /opt/clis/package-lock.json \
  && chmod -R a+rX /opt/clis

FROM node:22-bookworm-slim
# What agents work with: git and its helpers, a search, make and a C compiler.
RUN apt-get update -qq \
  && apt-get install -y -qq --no-install-recommends \
    ca-certificates gcc gh git git-lfs libc6-dev make openssh-client ripgrep >/dev/null \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt
# Names for the users and groups that agents run as (TOWND_UID_BASE, TOWND_GID_BASE):
# ssh and others refuse a user without one. Nobody logs in as them.
RUN for i in $(seq 0 99); do \
    echo "agent$i:x:$((40000 + i)):$((50000 + i)):townd agent:/nonexistent:/bin/bash" >>/etc/passwd \
    && echo "rig$i:x:$((50000 + i)):" >>/etc/group; \
  done
COPY --from=clis /opt/clis /opt/clis
COPY --from=build /townd /usr/local/bin/townd
# The disk of a container may be lost with it: what agents have not committed goes to their remote, too.
ENV PATH=/opt/clis/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  TOWND_HOME=/workspace TOWND_LISTEN=0.0.0.0:8080 TOWND_PUSH_CHECKPOINTS=true
VOLUME /workspace
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["townd", "health"]
ARG VERSION=dev
LABEL org.opencontainers.image.title="townd" \
  org.opencontainers.image.description="A town: coding agents on terminals of their own, in git worktrees of their own" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="MIT"
# Process 1 owns the agents' terminals and starts a server that died again.
ENTRYPOINT ["townd", "keeper", "--", "townd", "serve"]
