# syntax=docker/dockerfile:1.7
# Satellite: one image for the head, for workers, and for KubeRay's pods.
#
#   docker build -t satellite .                                  computes on CPUs
#   docker build -t satellite:cuda --build-arg ACCELERATOR=cuda .
#
# PyPI's torch for x86-64 needs the CUDA libraries at its side even to be imported, so both weigh about 6 GB.
# TORCH_INDEX=URL names an index that has CPU builds of torch: with it the CPU image is 5 GB smaller.
ARG PYTHON_VERSION=3.11
ARG NODE_VERSION=22

FROM node:${NODE_VERSION}-bookworm-slim AS page
WORKDIR /src/frontend
COPY frontend/package.json frontend/package-lock.json frontend/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY frontend ./
RUN npm run build

FROM python:${PYTHON_VERSION}-slim-bookworm AS packages
ARG UV_VERSION=0.13.9
ARG ACCELERATOR=cpu
ARG TORCH_INDEX=""
ENV UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/satellite
RUN pip install --no-cache-dir --disable-pip-version-check uv==${UV_VERSION}
WORKDIR /src
COPY pyproject.toml uv.lock README.md ./
COPY configs/image/install.sh configs/image/
# What uv.lock says; every file is held against its hash.
RUN --mount=type=cache,target=/root/.cache/uv sh configs/image/install.sh "${ACCELERATOR}" "${TORCH_INDEX}"
COPY satellite satellite
COPY models models
COPY deployments deployments
COPY --from=page /src/satellite/page satellite/page
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --python /opt/satellite --no-deps . \
    && /opt/satellite/bin/python -m satellite.cli.serve_mode /opt/satellite/haproxy /tmp/haproxy \
        > /dev/null

FROM python:${PYTHON_VERSION}-slim-bookworm
# wget: KubeRay's probes call it.
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home --home-dir /var/lib/satellite satellite
COPY --from=packages /opt/satellite /opt/satellite
# Login shells, in which KubeRay starts Ray, have a PATH of their own.
RUN ln -s /opt/satellite/bin/python /opt/satellite/bin/ray /opt/satellite/bin/serve \
        /opt/satellite/bin/satellite /usr/local/sbin/
WORKDIR /satellite
COPY models models
COPY configs configs
COPY serve_config.yaml ./
ENV PATH=/opt/satellite/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/satellite \
    SATELLITE_ROOT=/satellite \
    SATELLITE_HOME=/var/lib/satellite \
    SATELLITE_PROFILE=auto \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_worker_niceness=0 \
    RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 \
    RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S=2 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE=1 \
    RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH=2147483647 \
    RAY_SERVE_HAPROXY_RETRY_ON="conn-failure empty-response" \
    RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S=86400 \
    RAY_SERVE_PORT_QUARANTINE_S=150 \
    RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=330 \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/satellite/haproxy/haproxy \
    RAY_SERVE_HAPROXY_CONFIG_FILE_LOC=/tmp/haproxy/haproxy.cfg \
    RAY_SERVE_HAPROXY_SOCKET_PATH=/tmp/haproxy/admin.sock \
    RAY_SERVE_HAPROXY_SERVER_STATE_BASE=/tmp/haproxy \
    RAY_SERVE_HAPROXY_SERVER_STATE_FILE=/tmp/haproxy/server-state \
    RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH=/tmp/haproxy/metrics.sock \
    RAY_SERVE_HAPROXY_METRICS_PORT=9101 \
    RAY_SERVE_HAPROXY_METRICS_ENABLED=0 \
    RAY_SERVE_HAPROXY_STATS_PORT=8404 \
    RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1 \
    RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=2
USER 10001:10001
EXPOSE 8000 8265 6379
VOLUME /var/lib/satellite
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8000/health/ready"]
ENTRYPOINT ["satellite"]
CMD ["--help"]
