"""What it costs, as ratios and counts that hold on any machine: one table, and the same as JSON.

make bench                                    # some minutes
python -m tests.bench --sweeps 100 --plans 1000 --cold 1 --json build/bench.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

from tests.bench.cold import cold_start
from tests.bench.plans import planner_times
from tests.bench.rotations import calls_of_a_rotation
from tests.bench.sweeps import idle_sweeps
from tests.bench.table import lines


def sizes(text: str) -> list[int]:
    """``1000,10000``: whole numbers above 0, smallest first; empty for none."""
    numbers = sorted(int(part) for part in text.split(",") if part.strip())
    if any(number < 1 for number in numbers):
        raise ValueError("a size is at least 1")
    return numbers


def main() -> int:
    """Measure, print the table on stdout and what is under way on stderr, write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=sizes, default=[1_000, 10_000, 100_000], help="secrets of the idle sweeps")
    parser.add_argument("--plans", type=sizes, default=[1_000, 10_000, 100_000, 1_000_000], help="keys of the plans")
    parser.add_argument("--cold", type=int, default=15, help="cold starts of each kind; 0 for none")
    parser.add_argument("--rounds", type=int, default=5, help="how often a sweep is measured; large ones less often")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go")
    options = parser.parse_args()

    def say(text: str) -> None:
        print(f"bench: {text} …", file=sys.stderr, flush=True)

    result: dict[str, Any] = {
        "python": platform.python_version(),
        "cold_start": cold_start(options.cold, say) if options.cold > 0 else None,
        "sweeps": idle_sweeps(options.sweeps, max(1, options.rounds), say),
        "rotation": calls_of_a_rotation(),
        "planner": planner_times(options.plans, say),
    }
    print("\n".join(lines(result)))
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        print(f"bench: {options.json} can't be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
