# syntax=docker/dockerfile:1
# The program in an image of its own: docker build --tag syncset .
#
# Both bases are named by version. Who has to build the same bytes again next year appends their
# digests, as in RUNTIME=gcr.io/distroless/cc-debian12:nonroot@sha256:...
ARG BUILDER=rust:1.95.0-slim-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

# hadolint ignore=DL3006
FROM ${BUILDER} AS build
# Seconds since 1970 that files of the image are dated with; BuildKit reads it.
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --package syncset \
    && cp target/dist/syncset /usr/local/bin/syncset

# Certificates of authorities and time zones are in it; a shell is not.
# hadolint ignore=DL3006
FROM ${RUNTIME}
LABEL org.opencontainers.image.title="syncset" \
      org.opencontainers.image.description="Shares part of a database and keeps it right" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/syncset/syncset"
COPY --from=build /usr/local/bin/syncset /usr/local/bin/syncset
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Where the project folder is mounted.
WORKDIR /project
ENTRYPOINT ["/usr/local/bin/syncset"]
CMD ["--help"]
