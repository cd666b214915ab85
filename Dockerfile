# One image for every role: worker, simulator, topics, annotate. The command chooses.
FROM python:3.12-slim

RUN useradd --create-home --uid 10001 knightwatch
WORKDIR /app
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY detectors detectors
COPY halts halts
COPY producers producers
COPY streams streams
COPY replay replay
COPY dashboards dashboards
COPY knightwatch knightwatch
COPY benchmarks benchmarks
COPY config config
RUN pip install --no-cache-dir ".[fix,replay]"
USER knightwatch
# the detectors' loops, compiled ahead of time for the user who will run them
RUN python -m detectors.warm
ENV PYTHONUNBUFFERED=1
# workers serve /metrics on 9464; other roles override or disable this in docker-compose.yml
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/metrics', timeout=2).read(1)"]
ENTRYPOINT ["knightwatch"]
CMD ["worker", "--bootstrap", "kafka:9092", "--metrics-port", "9464", "--data", "/tmp/knightwatch"]
