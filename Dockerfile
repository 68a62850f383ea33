# The image holds the static binary, CA certificates and an empty folder for
# the state; its root file system can be read-only.
FROM docker.io/library/golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG REVISION=unknown
RUN CGO_ENABLED=0 go build -trimpath -o /out/scwatch \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=${VERSION} -X github.com/prometheus/common/version.Revision=${REVISION}" \
    ./cmd/scwatch \
 && mkdir /out/data

FROM scratch
LABEL org.opencontainers.image.title="scwatch" \
      org.opencontainers.image.description="Watches over the security of Scaleway Serverless Functions" \
      org.opencontainers.image.source="https://github.com/scwatch/scwatch" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/scwatch /scwatch
COPY --from=build --chown=65532:65532 /out/data /data
# The default --storage.path is ./data.
WORKDIR /
ENV TMPDIR=/data
USER 65532:65532
VOLUME /data
EXPOSE 9762
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s CMD ["/scwatch", "health"]
ENTRYPOINT ["/scwatch"]
CMD ["serve"]
