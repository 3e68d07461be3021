"""``/metrics`` and ``/healthz`` over HTTP, as a scraper and a prober see them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from rotator.errors import ConfigurationError
from rotator.metrics_server import MetricsServer, PrometheusMetrics
from rotator.redaction.redactor import Redactor
from rotator.telemetry.metrics import EXPIRATION, FAMILIES, LAST_SUCCESS, READY, ROTATIONS, AccountMetrics, Sample
from tests.policy.build import NOW


class Served:
    """A running server, what it shows, and whether all is well."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        self.metrics = PrometheusMetrics("blue", redact)
        self.well = True
        self.details: dict[str, Any] = {"last_success": None}
        self.server = MetricsServer("127.0.0.1", 0, self.metrics, lambda: (self.well, self.details))

    def get(self, path: str, method: str = "GET", **headers: str) -> requests.Response:
        return requests.request(method, self.server.url + path, timeout=30, headers=headers)

    def scrape(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Values by name and labels, read as Prometheus reads them."""
        answer = self.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(answer.content.decode()):
            for sample in family.samples:
                series = found.setdefault(sample.name, {})
                labels = tuple(sorted(sample.labels.items()))
                assert labels not in series, "no series twice"
                series[labels] = sample.value
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.server.close()


def labels(account: str = "main", **more: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"deployment": "blue", "account": account, **more}.items()))


def of_secrets(account: str, *names: str) -> AccountMetrics:
    return AccountMetrics(account, NOW, tuple(Sample(READY, 1, (name,)) for name in names))


def test_families_have_help_and_type(served: Served) -> None:
    text = served.get("/metrics").text
    for family in FAMILIES:
        assert f"# HELP {family.name} {family.help}" in text
        assert f"# TYPE {family.name} {family.kind}" in text
    assert "process_resident_memory_bytes" in text


def test_gauges_replaced_counters_added(served: Served) -> None:
    served.metrics.publish(of_secrets("main", "a", "b"))
    counted = AccountMetrics(
        "main", NOW, sweep=(Sample(LAST_SUCCESS, 5),), counts=(Sample(ROTATIONS, 2, ("expiring",)),)
    )
    served.metrics.publish(counted)
    served.metrics.publish(AccountMetrics("main", NOW, (Sample(EXPIRATION, 1.5e9, ("a",)),), counts=counted.counts))
    found = served.scrape()
    assert READY.name not in found  # the secrets are gone
    assert found[EXPIRATION.name] == {labels(secret="a"): 1.5e9}
    assert found[LAST_SUCCESS.name] == {labels(): 5}
    assert found[ROTATIONS.name] == {labels(reason="expiring"): 4}


def test_only_gone_account_loses_state(served: Served) -> None:
    for account in ("main", "other"):
        served.metrics.publish(of_secrets(account, "a"))
    served.metrics.publish(AccountMetrics("main", NOW, None, counts=(Sample(ROTATIONS, 1, ("expiring",)),)))
    assert set(served.scrape()[READY.name]) == {labels(secret="a"), labels("other", secret="a")}
    served.metrics.keep_only(["other"])
    found = served.scrape()
    assert set(found[READY.name]) == {labels("other", secret="a")}
    assert ROTATIONS.name not in found


def test_hostile_names_forge_no_line(served: Served) -> None:
    """Threat: a secret's name that forges a line of /metrics. It is escaped."""
    names = ['a"} 1\nrotator_key_ready{secret="b', "\\", "\x1b[2J", "\ud800", "<b>", "=1+1", "ключ", "x" * 5000]
    served.metrics.publish(of_secrets('main"\n# HELP x', *names))
    found = served.scrape()[READY.name]
    assert len(found) == len(names)
    assert all(value.isprintable() and len(value) <= 512 for series in found for _, value in series)


def test_value_in_name_is_taken_out(used_secrets: Callable[[str], str]) -> None:
    redactor = Redactor()
    value = used_secrets("correct horse battery")
    redactor.learn(value)
    served = Served(redactor.redact)
    try:
        served.metrics.publish(of_secrets(value, f"a/{value}"))
        assert value not in served.get("/metrics").text
    finally:
        served.server.close()


def test_health(served: Served) -> None:
    answer = served.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "last_success": None})
    served.well = False
    answer = served.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/other", "GET", 404),
        ("/../etc/passwd", "GET", 404),
        ("/%00%ff", "GET", 404),
        ("/metrics", "DELETE", 405),
        ("/metrics?name[]=nothing", "GET", 200),
        ("/metrics/", "GET", 404),
    ],
)
def test_other_requests(served: Served, path: str, method: str, status: int) -> None:
    assert served.get(path, method).status_code == status


def test_openmetrics_where_accepted(served: Served) -> None:
    served.metrics.publish(AccountMetrics("main", NOW, counts=(Sample(ROTATIONS, 2, ("expiring",)),)))
    answer = served.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert 'rotator_rotations_total{account="main",deployment="blue",reason="expiring"} 2.0' in answer.text
    assert answer.text.endswith("# EOF\n")


def test_malformed_requests_hold_up_nothing(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Threat: a client that holds connections to the port of serve. Sweeps are not delayed."""
    host, port = served.server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))) as rubbish:
        rubbish.sendall(b"\x16\x03\x01\x00 nothing of HTTP\r\n\r\n")
        rubbish.shutdown(socket.SHUT_WR)
        assert served.get("/healthz").status_code == 200
        while rubbish.recv(65_536):
            pass
    assert capsys.readouterr().err == ""


def test_reports_and_scrapes_at_once(served: Served) -> None:
    failed: list[BaseException] = []

    def publish(account: str) -> None:
        try:
            for number in range(300):
                served.metrics.publish(of_secrets(account, *(f"s{n}" for n in range(number % 40))))
                served.metrics.publish(
                    AccountMetrics(account, NOW, counts=(Sample(ROTATIONS, 1, (f"r{number % 7}",)),))
                )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=publish, args=(f"a{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        served.scrape()
    for thread in threads:
        thread.join()
    assert not failed
    assert sum(served.scrape()[ROTATIONS.name].values()) == 900


def test_unusable_address_is_error(served: Served) -> None:
    port = int(served.server.url.rpartition(":")[2])
    for address, number in (("127.0.0.1", port), ("256.1.1.1", 0), ("no.such.host.invalid", 0), ("a" * 300, 0)):
        with pytest.raises(ConfigurationError) as caught:
            MetricsServer(address, number, served.metrics, lambda: (True, {}))
        assert str(number) in caught.value.message


def test_ipv6_where_there_is_any() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    metrics = PrometheusMetrics("blue")
    server = MetricsServer("::1", 0, metrics, lambda: (True, {}))
    try:
        assert json.loads(requests.get(server.url + "/healthz", timeout=30).text) == {"status": "ok"}
    finally:
        server.close()
