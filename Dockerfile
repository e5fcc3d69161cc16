# ClickPick for CPU and CUDA: the default wheels of PyTorch bring CUDA along and run without a GPU too.
#   docker build -t clickpick .
#   docker build -t clickpick --build-arg TORCH_BACKEND=cpu .     # several GB smaller; no CUDA
#   docker run --gpus all ...                                     # lets the same image use the GPUs
# BASE_IMAGE: any Debian or Ubuntu with Python 3.10 to 3.13 and venv, the same for both stages.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS builder
# One of uv's torch backends (cpu, cu128, ...); empty: the wheels of the package index.
ARG TORCH_BACKEND=""
ENV UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_HTTP_TIMEOUT=300
WORKDIR /src
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/python -m pip install --no-cache-dir uv==0.13.9 \
    && /opt/uv/bin/uv venv --python python3 /opt/clickpick
COPY pyproject.toml constraints.txt ./
RUN /opt/uv/bin/uv pip install --python /opt/clickpick ${TORCH_BACKEND:+--torch-backend "${TORCH_BACKEND}"} \
        --requirements pyproject.toml --extra offline --extra postgres --extra ray --extra s3 --constraints constraints.txt
COPY README.md LICENSE ./
COPY model_zoo model_zoo
COPY label_config label_config
COPY backend backend
RUN /opt/uv/bin/uv pip install --python /opt/clickpick --no-deps .

FROM ${BASE_IMAGE} AS runtime
# wget: KubeRay asks with it, inside the container, whether Ray is well. Debian keeps one version of it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 clickpick \
    && install --directory --owner clickpick --mode 0700 /data
COPY --from=builder /opt/clickpick /opt/clickpick
ENV PATH=/opt/clickpick/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    CLICKPICK_DATA=/data \
    CLICKPICK_HOST=0.0.0.0 \
    CLICKPICK_PORT=9090 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /home/clickpick
VOLUME /data
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['CLICKPICK_PORT']}/health\", timeout=3)"]
CMD ["clickpick", "serve"]
