# syntax=docker/dockerfile:1
# The wheel is built in the first stage, so that an image needs nothing but this repository.
FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/venv && python -m venv /opt/build
RUN --mount=type=cache,target=/root/.cache/pip /opt/venv/bin/pip install --require-hashes -r requirements.lock
# The build tools come from the same pinned set as on a developer's machine.
RUN --mount=type=cache,target=/root/.cache/pip /opt/build/bin/pip install --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY rules ./rules
COPY detectord ./detectord
RUN /opt/build/bin/python -m build --wheel --no-isolation --outdir /dist . \
 && /opt/venv/bin/pip install --no-deps /dist/detectord-*.whl

FROM python:3.12-slim-bookworm AS runtime
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
 && groupadd -g 10001 detectord && useradd -u 10001 -g 10001 -M -s /usr/sbin/nologin detectord
COPY --from=build /opt/venv /opt/venv
COPY rules /rules
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1 MALLOC_ARENA_MAX=2
ARG VERSION=0.1.0 REVISION= CREATED=
LABEL org.opencontainers.image.title="detectord" \
      org.opencontainers.image.description="Streaming EQL detection daemon" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED \
      org.opencontainers.image.licenses="Apache-2.0 AND Elastic-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim-bookworm"
USER 10001:10001
# Nothing is written but to /tmp: the root file system may be read-only.
WORKDIR /tmp
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=6 \
  CMD ["detectord", "healthcheck", "--url", "http://127.0.0.1:9464/healthz"]
ENTRYPOINT ["/usr/bin/tini", "--", "detectord"]
CMD ["run"]
