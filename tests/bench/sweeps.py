"""An idle sweep of so many secrets, beside the mere paging of the same lists, and beside what a typical script does."""

from __future__ import annotations

import gc
import io
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import requests

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.aws.stores import Member, Stores
from rotator.engine.context import Services
from rotator.engine.reconcile import Reconciler
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.model import Policy, SecretEntry, StoreId
from rotator.ports import KeyProvider, SecretStore
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret
from rotator.telemetry.audit import Audit, Trigger
from rotator.telemetry.consumer_events import NoEvents
from tests.bench.synthetic_fleet import PAGE, PER_ACCOUNT, SyntheticFleet

VERIFIED = 1_000
"""Secrets of the fleet whose values are verified in a day of hourly sweeps."""
SAMPLE = 200
"""Secrets that the typical script is measured on; its figures are scaled, as each costs the same."""


def idle_sweeps(sizes: list[int], rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One row a size: calls, CPU seconds, ratios, and the most memory that a sweep held, in bytes."""
    rows = []
    for count in sizes:
        say(f"idle sweep of {count:,} secrets")
        rows.append(_row(count, rounds))
    return rows


def _row(count: int, rounds: int) -> dict[str, Any]:
    sample = min(count, SAMPLE)
    works = {"sweep": sweep, "paging": paging, "script": lambda fleet: script(fleet, sample)}
    took: dict[str, list[float]] = {name: [] for name in works}
    calls: dict[str, dict[str, int]] = {}
    for _ in range(rounds):  # side by side: what else the machine does falls upon all alike
        for name, work in works.items():
            fleet = SyntheticFleet(count)
            took[name].append(cpu_of(work, fleet))
            calls[name] = dict(fleet.calls)
    seconds = {name: statistics.median(times) for name, times in took.items()}
    scale = count / sample
    script_calls = {name: round(number * scale) for name, number in calls["script"].items()}
    return {
        "secrets": count,
        "accounts": -(-count // PER_ACCOUNT),
        "rounds": rounds,
        "calls": calls["sweep"],
        "calls_paging": calls["paging"],
        "calls_script": script_calls,
        "calls_to_script": sum(script_calls.values()) / sum(calls["sweep"].values()),
        "cpu_seconds": seconds["sweep"],
        "cpu_to_paging": statistics.median(a / b for a, b in zip(took["sweep"], took["paging"], strict=True)),
        "cpu_to_script": seconds["sweep"] / (seconds["script"] * scale),
        "script_sample": sample,
        "peak_bytes": peak_of(sweep, SyntheticFleet(count)),
    }


def cpu_of(work: Callable[[SyntheticFleet], None], fleet: SyntheticFleet) -> float:
    """The processor time of all threads, in seconds."""
    gc.collect()
    begun = time.process_time()
    work(fleet)
    return time.process_time() - begun


def peak_of(work: Callable[[SyntheticFleet], None], fleet: SyntheticFleet) -> int:
    """The most memory that Python held at once for it, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        work(fleet)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def daily_verification(say: Callable[[str], None]) -> dict[str, Any]:
    """The most batch reads and searches that any of a day's hourly sweeps makes, and those of the whole day."""
    say(f"a day of hourly sweeps of {VERIFIED:,} idle secrets")
    found: dict[str, Any] = {"secrets": VERIFIED}
    for name, masked in (("readable", False), ("masked", True)):
        fleet = SyntheticFleet(VERIFIED, masked=masked)
        hours = []
        for _ in range(24):
            fleet.calls.clear()
            sweep(fleet, verifies=True)
            hours.append((fleet.calls["BatchGetSecretValue"], fleet.calls["GET keys by value"]))
            fleet.clock.set(fleet.clock.now().replace(minute=0, second=0) + timedelta(hours=1))
        reads, searches = zip(*hours, strict=True)
        found[name] = {"reads": max(reads), "searches": max(searches), "reads_a_day": sum(reads)}
        found[name]["searches_a_day"] = sum(searches)
    return found


# ---- what is compared -----------------------------------------------------------------------------------------------


def _store(fleet: SyntheticFleet, region: str, redactor: Redactor) -> SecretStore:
    return SecretsManagerStore(fleet.own_client(region), redactor)


def sweep(fleet: SyntheticFleet, *, verifies: bool = False) -> None:
    """The rotator's own, with everything but a connection.

    :param verifies: whether it verifies the values of the past hour's secrets, as each hourly sweep does.
    """
    redactor = Redactor()

    def connect(entry: SecretEntry, text: Secret, /, *, emergency: bool = False) -> KeyProvider:
        account = int(entry.name.rpartition("/")[2])
        credentials = parse_credentials(entry.name, text)
        return InfobipClient(credentials, fleet.clock, redactor=redactor, adapters=lambda: fleet.infobip(account))

    audit = Audit(
        io.StringIO(),
        deployment="default",
        actor="bench",
        trigger=Trigger.SCHEDULE,
        redactor=redactor,
        clock=fleet.clock,
    )
    members = [Member(StoreId(region), partial(_store, fleet, region, redactor)) for region in fleet.regions]
    store = Stores(members) if len(members) > 1 else members[0].store
    services = Services(store, connect, audit, NoEvents(), fleet.clock, Policy())
    services.previous = None if verifies else fleet.clock.now()
    done = Reconciler(services).sweep()
    swept = sum(plan.keys for plan in done.plan.accounts)
    if not done.ok or done.results or swept != fleet.count:
        raise AssertionError(f"not an idle sweep of {fleet.count}: {swept} keys, {done.plan.accounts[0].alerts}")


def paging(fleet: SyntheticFleet) -> None:
    """Both lists read to their ends, parsed and thrown away."""
    client, token = fleet.client(), ""
    while True:
        more = {"NextToken": token} if token else {}
        page = client.list_secrets(MaxResults=PAGE, IncludePlannedDeletion=True, **more)
        token = page.get("NextToken", "")
        if not token:
            break
    for account in range(fleet.accounts):
        session, number, pages = _session(fleet, account), 0, 1
        while number < pages:
            query = {"page": str(number), "size": str(PAGE)}
            answer = session.get("https://a.invalid/settings/2/api-keys", params=query, timeout=9)
            pages, number = json.loads(answer.content)["paging"]["totalPages"], number + 1


def script(fleet: SyntheticFleet, secrets: int) -> None:
    """The loop that is usually written: describe each secret, read its value, ask for its key."""
    client, session = fleet.client(), _session(fleet, 0)
    for index in range(secrets):
        name = f"prod/service-{index:06}/infobip"
        client.describe_secret(SecretId=name)
        json.loads(client.get_secret_value(SecretId=name)["SecretString"])
        session.get(f"https://a.invalid/settings/2/api-keys/{fleet.key_id(index)}", timeout=9).json()


def _session(fleet: SyntheticFleet, account: int) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", fleet.infobip(account))
    return session
