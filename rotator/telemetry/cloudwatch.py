"""Metrics for CloudWatch in its embedded metric format: log lines of a Lambda, without API calls or permissions.

CloudWatch charges for each name with its dimensions, so fewer metrics are written here than for Prometheus:

- an account's gauges have the dimensions ``deployment``, and ``deployment, account``;
- counters have these too, and their labels; increments of 0 are left out;
- ``rotator_keys`` is written for each state that occurs;
- a secret's two gauges are written if its key has less than 30 days left or is not ready, for at most 200 secrets.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.telemetry.logs import LineStream, TextSink
from rotator.telemetry.metrics import EXPIRATION, READY, AccountMetrics, Family, Sample
from rotator.text import printable

NEAR: Final = timedelta(days=30)
MOST_SECRETS_MEASURED: Final = 200
"""Maximum number of secrets per account with individual metrics, to limit cost."""
LONGEST_DIMENSION: Final = 1024
_EMPTY: Final = "-"


class EmbeddedMetrics:
    """Writes one account's report as JSON lines. Implements ``Metrics``; thread safe.

    :param namespace: the CloudWatch namespace, which the alarms name.
    :param redact: redacts names.
    :param stream: if not given, the ``sys.stdout`` at the time of each report.
    """

    def __init__(
        self, namespace: str, deployment: str, redact: Callable[[str], str], stream: TextSink | None = None
    ) -> None:
        self._namespace = namespace
        self._deployment = deployment
        self._redact = redact
        self._stream = stream
        self._lock = threading.Lock()

    def publish(self, report: AccountMetrics) -> None:
        """Write the report."""
        samples = [sample for sample in (*(report.state or ()), *report.sweep, *report.counts) if _worth(sample)]
        lines = [
            self._line(report, chosen, rolled_up)
            for chosen, rolled_up in (*_groups(samples), *_of_secrets(samples, report.at))
        ]
        with self._lock:  # lines of one report stay together
            out = LineStream(self._stream if self._stream is not None else sys.stdout)
            for line in lines:
                out.write_line(line)

    def _line(self, report: AccountMetrics, samples: Sequence[Sample], rolled_up: bool) -> str:
        labels = dict(zip(samples[0].family.labels, samples[0].labels, strict=False))
        names = {"deployment": self._deployment, "account": report.account, **labels}
        sets = [["deployment"], ["deployment", "account"]] if rolled_up else []
        if labels:
            sets.append(list(names))
        metrics = [{"Name": sample.family.name, "Unit": _unit(sample.family)} for sample in samples]
        fields: dict[str, Any] = {
            "_aws": {
                "Timestamp": round(report.at.timestamp() * 1000),
                "CloudWatchMetrics": [{"Namespace": self._namespace, "Dimensions": sets, "Metrics": metrics}],
            },
            **{name: self._dimension(text) for name, text in names.items()},
            **{sample.family.name: sample.value for sample in samples},
        }
        return json.dumps(fields, ensure_ascii=True, allow_nan=False, separators=(",", ":"))

    def _dimension(self, text: str) -> str:
        """Return a value that CloudWatch accepts: ASCII, no control characters, not blank, at most 1024 characters."""
        plain = printable(self._redact(text), LONGEST_DIMENSION).encode("ascii", "backslashreplace").decode()
        return plain.strip()[:LONGEST_DIMENSION] or _EMPTY


def _worth(sample: Sample) -> bool:
    """Whether to write a sample. Zeros of counters and of ``rotator_keys`` are left out."""
    return sample.value != 0 or not (sample.family.kind == "counter" or "state" in sample.family.labels)


def _groups(samples: list[Sample]) -> Iterator[tuple[list[Sample], bool]]:
    """Yield the samples of each line, and whether a sum or maximum over all accounts makes sense for them."""
    plain = [sample for sample in samples if not sample.family.labels]
    if plain:
        yield plain, True
    for sample in samples:
        if sample.family.labels and "secret" not in sample.family.labels:
            yield [sample], sample.family.kind == "counter"


def _of_secrets(samples: list[Sample], now: datetime) -> Iterator[tuple[list[Sample], bool]]:
    """Yield the samples of secrets that may need attention, the most urgent first."""
    by_secret: dict[tuple[str, ...], dict[str, Sample]] = defaultdict(dict)
    for sample in samples:
        if "secret" in sample.family.labels:
            by_secret[sample.labels][sample.family.name] = sample
    urgent = []
    for name, found in by_secret.items():
        end = found[EXPIRATION.name].value if EXPIRATION.name in found else float("inf")
        ready = READY.name not in found or found[READY.name].value > 0
        if not ready or end < (now + NEAR).timestamp():
            urgent.append((ready, end, name))
    for _, _, name in sorted(urgent)[:MOST_SECRETS_MEASURED]:
        yield list(by_secret[name].values()), False


def _unit(family: Family) -> str:
    if family.name.endswith("_timestamp_seconds") or family is READY:
        return "None"
    return "Seconds" if family.name.endswith("_seconds") else "Count"
