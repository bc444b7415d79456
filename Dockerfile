# The worker as an image: one program, its configuration files, no root. Built with BuildKit, which Docker 23 and newer
# use by themselves (before: DOCKER_BUILDKIT=1). How to run it: docs/containers.md.

# Both can be given: --build-arg BUILD_IMAGE=…
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# No debug information in the image; the names of functions stay, so that a backtrace can be read.
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY . .
# What was compiled before is kept from build to build. Cargo goes by the files' times, and those of a copy may be older
# than the last build: touched, so that no image gets the program of other sources.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    touch src/lib.rs src/main.rs \
 && cargo build --release --locked --bin order-execution \
 && install -D target/release/order-execution /out/order-execution

FROM ${RUN_IMAGE}
LABEL org.opencontainers.image.title="order-execution" \
      org.opencontainers.image.description="Executes orders that arrive on a Redis stream, each journaled before it is sent" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
COPY --from=build /out/order-execution /usr/local/bin/order-execution
WORKDIR /app
COPY config config
# For a journal on SQLite: a new volume that is mounted here belongs to the user below.
RUN install -d -o 10001 -g 10001 -m 0750 data
ENV APP_ENV=production
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 9091
# The program is process 1: it catches SIGTERM itself, drains, and ends with 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["order-execution", "health"]
ENTRYPOINT ["order-execution"]
CMD ["worker"]
