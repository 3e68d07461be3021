"""What it costs, as ratios and counts that hold on any machine: one table, and the same as JSON.

make bench                                    # some minutes
python -m tests.bench --sweeps 100 --plans 1000 --cold 1 --json build/bench.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.audit_lines import evidence_cost
from tests.bench.cold import cold_start
from tests.bench.plans import planner_times
from tests.bench.rotations import calls_of_a_rotation
from tests.bench.sweeps import daily_verification, idle_sweeps


def sizes(text: str) -> list[int]:
    """``1000,10000``: whole numbers above 0, smallest first; empty for none."""
    numbers = sorted(int(part) for part in text.split(",") if part.strip())
    if any(number < 1 for number in numbers):
        raise ValueError("a size is at least 1")
    return numbers


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The figures as a table, as README.md here has it."""
    yield "| what | figure | goal |"
    yield "|---|---|---|"
    for what, figure, goal in rows(result):
        yield f"| {what} | {figure} | {goal} |"


def rows(result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What, figure, goal."""
    cold = result["cold_start"]
    if cold is not None and cold["ratio"] is not None:
        what = f"cold start to `import boto3, requests, structlog` and one client, Python {cold['python']}"
        yield what, f"{cold['ratio']:.2f}", "1.25"
    if cold is not None and cold["zip_bytes"] is not None:
        yield "Lambda zip", f"{cold['zip_bytes'] / 1e6:.1f} MB", ""
    for row in result["sweeps"]:
        of = f"idle sweep of {row['secrets']:,} secrets"
        calls, script = sum(row["calls"].values()), sum(row["calls_script"].values())
        yield f"{of}: calls, and a typical script's", f"{calls:,} and {script:,}", "2 a hundred"
        yield f"{of}: time to paging the lists", f"{row['cpu_to_paging']:.2f}", "1.5"
        yield f"{of}: time to the script¹", f"1/{1 / row['cpu_to_script']:.0f}", ""
        yield f"{of}: most memory", f"{row['peak_bytes'] / 1e6:.0f} MB", "5 KB a secret"
    verified = result["verification"]
    of = f"an hourly sweep's daily verification of {verified['secrets']:,} secrets"
    yield f"{of}: batch reads at most", str(verified["masked"]["reads"]), "5"
    searches = f"{verified['masked']['searches']} if Infobip shows masks, else {verified['readable']['searches']}"
    yield f"{of}: searches at most", searches, "65, else 0"
    rotation, ended = result["rotation"]["rotation"], result["rotation"]["end_of_grace"]
    probes = rotation["infobip"].get("GET balance", 0)
    at_infobip = sum(rotation["infobip"].values()) - probes
    yield "a rotation: calls at Secrets Manager", str(sum(rotation["secretsmanager"].values())), "5 (AWS's: 10 to 14)"
    yield "a rotation: calls at Infobip, and probes", f"{at_infobip} and {probes}", "4"
    yield "a revocation after grace: calls at Secrets Manager", str(sum(ended["secretsmanager"].values())), "7"
    updates = ended["infobip"].get("PUT key", 0)
    yield (
        "a revocation after grace: calls at Infobip, and updates among them",
        f"{sum(ended['infobip'].values())} and {updates}",
        "3 and 1",
    )
    for row in result["planner"]:
        what = f"plan for {row['keys']:,} keys: time a key, and growth to n log n"
        yield what, f"{row['cpu_microseconds_a_key']:.0f} µs, {row['growth']:.2f}", "60 µs, 1"
    evidence = result["evidence"]
    of = f"evidence of {evidence['lines']:,} audit lines"
    yield f"{of}: time to parsing and hashing them", f"{evidence['cpu_to_parsing']:.1f}", ""
    seconds = evidence["cpu_seconds"] / evidence["lines"] * 1e6
    yield (
        f"{of}: time for a million, and most memory",
        f"{seconds:.0f} s, {evidence['peak_bytes'] / 1e6:.0f} MB",
        ("60 s, 200 MB"),
    )
    if result["sweeps"]:
        sample = result["sweeps"][-1]["script_sample"]
        yield f"¹ measured on {sample} secrets at most and scaled: each costs it the same", "", ""


def main() -> None:
    """Measure, print the table on stdout and progress on stderr, write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=sizes, default=[1_000, 10_000], help="secrets of the idle sweeps")
    parser.add_argument("--plans", type=sizes, default=[1_000, 10_000], help="keys of the plans")
    parser.add_argument("--lines", type=int, default=100_000, help="audit lines of the evidence")
    parser.add_argument("--cold", type=int, default=15, help="cold starts of each kind; 0 for none")
    parser.add_argument("--rounds", type=int, default=5, help="how often a sweep is measured")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go")
    options = parser.parse_args()

    def say(text: str) -> None:
        print(f"bench: {text} …", file=sys.stderr, flush=True)

    result: dict[str, Any] = {
        "python": platform.python_version(),
        "cold_start": cold_start(options.cold, say) if options.cold > 0 else None,
        "sweeps": idle_sweeps(options.sweeps, max(1, options.rounds), say),
        "verification": daily_verification(say),
        "rotation": calls_of_a_rotation(),
        "planner": planner_times(options.plans, say),
        "evidence": evidence_cost(max(1, options.lines), say),
    }
    print("\n".join(lines(result)))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
