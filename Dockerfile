# syntax=docker/dockerfile:1
# The server with the embedded model: docker build -t komrc . && docker run --rm -p 127.0.0.1:8888:8888 komrc

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE tokenization_kobert.py ./
COPY src ./src
RUN python -m venv /opt/komrc \
    && /opt/komrc/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve,documents,html]'

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="KoMRC" \
      org.opencontainers.image.description="Korean extractive question answering over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/komrc /opt/komrc
ENV PATH=/opt/komrc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    KOMRC_HOST=0.0.0.0 \
    KOMRC_PORT=8888
# A number, so that a cluster can see that it is not root. Nothing is written outside /tmp.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8888
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"KOMRC_PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["komrc"]
CMD ["serve"]
