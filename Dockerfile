# A service of one run: docker build -t crossrec . && docker run -p 8000:8000 -e CROSSREC_TOKEN=... -v ./runs:/runs:ro crossrec
# --build-arg TORCH_INDEX=URL takes torch from an index of builds for CPUs, as PyTorch's installation page names it: a
# smaller image. Without it pip takes its usual build, which holds libraries for GPUs.
FROM python:3.13-slim AS build
ARG TORCH_INDEX=""
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --wheel-dir /wheels ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && pip wheel --no-cache-dir --wheel-dir /wheels --find-links /wheels ".[serve,features]"

FROM python:3.13-slim
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "crossrec[serve,features]" \
    && useradd --create-home --uid 1000 crossrec
USER 1000
WORKDIR /home/crossrec
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v1/health/live', timeout=2)"]
ENTRYPOINT ["crossrec"]
CMD ["serve", "/runs/current", "--host", "0.0.0.0"]
