"""The daemon's HTTP server: ``/metrics`` for Prometheus, and ``/healthz``."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from rotator.errors import ConfigurationError
from rotator.telemetry.metrics import FAMILIES, AccountMetrics, Family, Sample
from rotator.text import printable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_LOG = logging.getLogger(__name__)
HealthCheck = Callable[[], tuple[bool, dict[str, Any]]]
Series = tuple[Family, tuple[str, ...]]


class PrometheusMetrics(Collector):
    """Keeps the last values of each account. Implements ``Metrics``; thread safe.

    :param deployment: a label of every sample.
    :param redact: redacts names.
    """

    def __init__(self, deployment: str, redact: Callable[[str], str] = str) -> None:
        self._deployment = deployment
        self._redact = redact
        self._lock = threading.Lock()
        self._state: dict[str, dict[Series, float]] = {}
        self._kept: dict[str, dict[Series, float]] = {}

    def publish(self, report: AccountMetrics) -> None:
        """Publish a report. Gauges replace earlier values; increments are added."""
        account = self._label(report.account)
        state = {self._series(sample): sample.value for sample in report.state or ()}
        with self._lock:
            if report.state is not None:
                self._state[account] = state
            kept = self._kept.setdefault(account, defaultdict(float))
            for sample in report.sweep:
                kept[self._series(sample)] = sample.value
            for sample in report.counts:
                kept[self._series(sample)] += sample.value

    def keep_only(self, accounts: Iterable[str]) -> None:
        """Forget accounts that no longer exist."""
        kept = {self._label(account) for account in accounts}
        with self._lock:
            for values in (self._state, self._kept):
                for account in values.keys() - kept:
                    del values[account]

    def collect(self) -> Iterable[Metric]:
        """Return every family, even without values."""
        metrics = {}
        for each in FAMILIES:
            make = CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily
            metrics[each] = make(each.name, each.help, labels=("deployment", "account", *each.labels))
        with self._lock:
            for part in (self._state, self._kept):
                for account, values in part.items():
                    for (family, labels), value in values.items():
                        metrics[family].add_metric([self._deployment, account, *labels], value)
        return metrics.values()

    def _series(self, sample: Sample) -> Series:
        return sample.family, tuple(map(self._label, sample.labels))

    def _label(self, text: str) -> str:
        return printable(self._redact(text), 512)


class _Handler(WSGIRequestHandler):
    timeout = 10.0  # seconds for a caller to send its request

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, RUF100 - the base class's name
        """Log nothing, since a scraper calls every few seconds."""


class _Server(ThreadingWSGIServer):
    def __init__(self, address: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Log at debug level only: a caller that disconnects or sends nothing needs no traceback on stderr."""
        _LOG.debug("a request for metrics broke off", exc_info=True)


class MetricsServer:
    """Serves until it is closed.

    :param address: the address to listen on; ``port`` 0 means any free port.
    :param health: returns whether the daemon is healthy, and the details for ``/healthz``.
    :raises ConfigurationError: the address or port can't be used.
    """

    def __init__(self, address: str, port: int, metrics: PrometheusMetrics, health: HealthCheck) -> None:
        try:
            self._server = _Server(address, port)
        except (OSError, UnicodeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "no such address"
            raise ConfigurationError(
                f"can't listen on {printable(address, 60)} port {port} ({reason})",
                advice="Use another --metrics-port or --metrics-address.",
            ) from None
        registry = CollectorRegistry()
        registry.register(metrics)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        exposition = make_wsgi_app(registry)

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                answer: Iterable[bytes] = exposition(environ, start_response)
                return answer
            status, kind, body = "404 Not Found", "text/plain", "rotator serve: /metrics, /healthz"
            if path == "/healthz":
                well, details = health()
                status, kind = "200 OK" if well else "503 Service Unavailable", "application/json"
                body = json.dumps({"status": "ok" if well else "unhealthy", **details})
            start_response(status, [("Content-Type", kind), ("Cache-Control", "no-store")])
            return [f"{body}\n".encode()]

        self._server.set_app(app)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The server's URL, without a trailing slash."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
