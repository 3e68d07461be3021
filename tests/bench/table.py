"""The figures as a table that README can hold: Markdown, each line a figure and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The table, line by line, from what ``python -m tests.bench`` measured."""
    yield "| what | figure | goal |"
    yield "|---|---|---|"
    for what, figure, goal in rows(result):
        yield f"| {what} | {figure} | {goal} |"


def rows(result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What, figure, goal."""
    cold = result["cold_start"]
    if cold is not None and cold["ratio"] is not None:
        what = f"cold start to `import boto3, requests`, Python {cold['python']}"
        yield what, f"{cold['ratio']:.2f}", "1.2, at best 1.0"
    if cold is not None and cold["zip_bytes"] is not None:
        yield "Lambda zip", f"{cold['zip_bytes'] / 1e6:.1f} MB", ""
    for row in result["sweeps"]:
        of = f"idle sweep of {row['secrets']:,} secrets"
        calls, script = sum(row["calls"].values()), sum(row["calls_script"].values())
        yield f"{of}: calls, and a typical script's", f"{calls:,} and {script:,}", "2 a hundred"
        yield f"{of}: time to paging the lists", f"{row['cpu_to_paging']:.2f}", "1.3"
        yield f"{of}: time to the script¹", f"1/{1 / row['cpu_to_script']:.0f}", ""
        yield f"{of}: most memory", f"{row['peak_bytes'] / 1e6:.0f} MB", "3 KB a secret"
    rotation, ended = result["rotation"]["rotation"], result["rotation"]["end_of_grace"]
    probes = rotation["infobip"].get("GET balance", 0)
    at_infobip = sum(rotation["infobip"].values()) - probes
    yield "a rotation: calls at Secrets Manager", str(sum(rotation["secretsmanager"].values())), "5 (AWS's: 10 to 14)"
    yield "a rotation: calls at Infobip, and probes", f"{at_infobip} and {probes}", "4"
    yield "end of grace: updates at Infobip", str(ended["infobip"].get("PUT key", 0)), "1"
    for row in result["planner"]:
        what = f"plan for {row['keys']:,} keys: time a key, and growth to n log n"
        yield what, f"{row['cpu_microseconds_a_key']:.0f} µs, {row['growth']:.2f}", "10 µs, 1"
    if result["sweeps"]:
        sample = result["sweeps"][-1]["script_sample"]
        yield f"¹ measured on {sample} secrets at most and scaled: each costs it the same", "", ""
