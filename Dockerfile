# The image of aries-bridge, for linux/amd64 and linux/arm64:
#
#   docker build --build-arg VERSION=1.2.3 --tag aries-bridge:1.2.3 .
#   podman build --format docker ...        # the format of OCI has no HEALTHCHECK
#
# Behind a proxy that inspects TLS: --secret id=authority,src=company-ca.pem. It is used for the package index and does not
# become part of the image.
#
# It runs as 10001:10001 with a read-only root file system and no capabilities, and writes no files but
# captures, if BRIDGE_CAPTURE_DIR names a directory that is mounted.

# A tag, so that a rebuild has the base image's security fixes. For reproducible builds, or a mirror:
# --build-arg PYTHON_IMAGE=registry.example/python:3.13-slim-trixie@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-trixie
# The same with a C compiler, for the compiled step: nothing of it but what is built gets into the image.
ARG BUILD_IMAGE=python:3.13-trixie

FROM ${BUILD_IMAGE} AS build
# Package index for wheels; the default is the public one.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies of the program, as wheels with hashes. This environment is released, so it has no pip. What no command
# imports is left out, as it is a fifth of the size: rich's parts for source code and Markdown, and zstandard's
# implementation for other Pythons.
# --build-arg EXTRA=msk-iam adds AWS's signer, for KAFKA_SASL_MECHANISM=AWS_MSK_IAM.
ARG EXTRA=
COPY requirements.lock requirements-msk-iam.lock ./
RUN --mount=type=secret,id=authority \
    if [ -f /run/secrets/authority ]; then export PIP_CERT=/run/secrets/authority; fi \
 && awk '/^[a-z0-9]/ { wanted = !/^(markdown-it-py|mdurl|pygments)==/ } wanted' \
      "requirements${EXTRA:+-$EXTRA}.lock" > requirements-run.lock \
 && python -m venv --without-pip /opt/aries-bridge \
 && python -m pip --python /opt/aries-bridge/bin/python install --no-compile --only-binary :all: \
      --no-deps --require-hashes --requirement requirements-run.lock \
 && rm /opt/aries-bridge/lib/python3*/site-packages/zstandard/_cffi.*

# Build tools for the program's wheel: only hatchling and its requirements, out of all development tools.
COPY requirements-dev.lock ./
RUN --mount=type=secret,id=authority \
    if [ -f /run/secrets/authority ]; then export PIP_CERT=/run/secrets/authority; fi \
 && awk '/^[a-z0-9]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
      requirements-dev.lock > requirements-build.lock \
 && python -m venv --without-pip /opt/build \
 && python -m pip --python /opt/build/bin/python install --no-compile --only-binary :all: \
      --require-hashes --requirement requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY avro ./avro
COPY bridge ./bridge
# Compiled here, since nothing can be written at run time. Unchecked hashes, since these files never change.
RUN COMPILED_STEP=required /opt/build/bin/python -m hatchling build --target wheel --directory /dist \
 && python -m pip --python /opt/aries-bridge/bin/python install --no-compile --no-deps --no-index /dist/*.whl \
 && /opt/aries-bridge/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/aries-bridge/lib
# Not used, but some builders warn of arguments that a stage does not declare. Last, as they would invalidate the cache.
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE

FROM ${PYTHON_IMAGE}
# Nothing is installed from here on: remove pip, which scanners report.
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip \
 && rm -rf /usr/local/lib/python3*/ensurepip /usr/local/bin/pip*
COPY --from=build /opt/aries-bridge /opt/aries-bridge

ENV PATH=/opt/aries-bridge/bin:$PATH \
    IN_CONTAINER_IMAGE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    TYPER_USE_RICH=0
WORKDIR /
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "bridge.observability.healthcheck"]

ARG PYTHON_IMAGE
ARG PIP_INDEX_URL
ARG EXTRA
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="aries-bridge" \
      org.opencontainers.image.description="Bridge the Aries market-data WebSocket to Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"

ENTRYPOINT ["aries-bridge"]
CMD ["run"]
