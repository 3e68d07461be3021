"""``/metrics`` for Prometheus and ``/healthz``, on one port of the daemon's."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rotator.errors import ConfigurationError
from rotator.telemetry.metric_families import FAMILIES, Family, Kind
from rotator.telemetry.metrics import Report
from rotator.text import printable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_LOG = logging.getLogger(__name__)
_PATIENCE: Final = 10.0
"""Seconds for a caller to send its request."""
_PAGE: Final = b"rotator serve: /metrics, /healthz\n"
Health = Callable[[], tuple[bool, dict[str, Any]]]
Values = dict[Family, dict[tuple[str, ...], float]]


class PrometheusMetrics(Collector):
    """Keeps what was last reported of each account. Implements ``Metrics``; thread safe.

    :param deployment: a label of every sample.
    :param redact: takes out of names what must not be seen.
    """

    def __init__(self, deployment: str, redact: Callable[[str], str] = str) -> None:
        self._deployment = deployment
        self._redact = redact
        self._lock = threading.Lock()
        self._state: dict[str, Values] = {}
        self._sweep: dict[str, Values] = {}
        self._counts: dict[str, Values] = {}

    def publish(self, report: Report) -> None:
        """Take a report: gauges replace those before, increments are added."""
        account = self._label(report.account)
        state: Values | None = None if report.state is None else {}
        for sample in report.state or ():
            assert state is not None
            state.setdefault(sample.family, {})[tuple(map(self._label, sample.labels))] = sample.value
        with self._lock:
            if state is not None:
                self._state[account] = state
            for sample in report.sweep:
                self._sweep.setdefault(account, {}).setdefault(sample.family, {})[sample.labels] = sample.value
            for sample in report.counts:
                found = self._counts.setdefault(account, {}).setdefault(sample.family, {})
                labels = tuple(map(self._label, sample.labels))
                found[labels] = found.get(labels, 0) + sample.value

    def keep_only(self, accounts: Iterable[str]) -> None:
        """Forget accounts that are there no more."""
        kept = {self._label(account) for account in accounts}
        with self._lock:
            for values in (self._state, self._sweep, self._counts):
                for account in values.keys() - kept:
                    del values[account]

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that to register it asks for no values."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, those without a value too."""
        with self._lock:
            kept = [(account, found) for part in (self._state, self._sweep) for account, found in part.items()]
            gauges = [(account, {family: dict(v) for family, v in found.items()}) for account, found in kept]
            counts = [(a, {family: dict(v) for family, v in found.items()}) for a, found in self._counts.items()]
        for family in FAMILIES:
            names = ("deployment", "account", *family.labels)
            counting = family.kind is Kind.COUNTER
            metric = (CounterMetricFamily if counting else GaugeMetricFamily)(family.name, family.help, labels=names)
            for account, found in counts if counting else gauges:
                for labels, value in found.get(family, {}).items():
                    metric.add_metric([self._deployment, account, *labels], value)
            yield metric

    def _label(self, text: str) -> str:
        return printable(self._redact(text), 512)


class MetricsServer:
    """Answers until it is closed.

    :param address: where to listen; ``port`` 0 is any free one.
    :param health: says whether all is well, and the details that ``/healthz`` shows.
    :raises ConfigurationError: that can't be listened on.
    """

    def __init__(self, address: str, port: int, metrics: PrometheusMetrics, health: Health) -> None:
        registry = CollectorRegistry()
        registry.register(metrics)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        try:
            self._server = _make_server(address, port)
        except OSError as error:
            raise ConfigurationError(
                f"{printable(address, 60)} port {port} can't be listened on ({error.strerror or 'no such address'})",
                advice="Choose another --metrics-port or --metrics-address.",
            ) from None
        self._server.set_app(_routes(make_wsgi_app(registry), health))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers, without a trailing slash."""
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _routes(metrics: WSGIApplication, health: Health) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        try:
            if path == "/metrics":
                return metrics(environ, start_response)
            if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
                return _plain(start_response, "405 Method Not Allowed", b"only GET\n")
            if path == "/healthz":
                well, details = health()
                body = json.dumps({"status": "ok" if well else "unhealthy", **details}).encode() + b"\n"
                return _plain(start_response, "200 OK" if well else "503 Service Unavailable", body, "application/json")
        except Exception as error:  # else wsgiref prints a traceback
            _LOG.warning("%s failed: %s", path[:40], type(error).__name__, exc_info=error)
            return _plain(start_response, "500 Internal Server Error", b"failed, see the log\n")
        return _plain(start_response, "200 OK" if path == "/" else "404 Not Found", _PAGE)

    return app


def _plain(
    start_response: StartResponse, status: str, body: bytes, kind: str = "text/plain; charset=utf-8"
) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    start_response(status, headers)
    return [body]


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE  # socketserver closes the connection of one who sends nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, RUF100 - the base class's name
        """Nothing: a scraper comes every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As the base class, but without asking DNS for the machine's name, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """A caller that goes away in the middle is no news, and no traceback on stderr."""
        _LOG.debug("a request for metrics broke off", exc_info=True)


def _make_server(address: str, port: int) -> _Server:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (UnicodeError, ValueError):  # a name that can't be one
        raise OSError(0, "no such address") from None
    family, _, _, _, where = found[0]

    class Chosen(_Server):
        address_family = family

    return Chosen((str(where[0]), port), _Handler)
