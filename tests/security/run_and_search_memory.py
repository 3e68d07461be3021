"""A child's program: run one command in this process, then report which of some texts a live object still holds.

Arguments: a file with the texts, each reversed (so that nothing but what the program kept is found), and the command's.
The last line of standard output is JSON: how many objects were searched, and the numbers of the texts that are held.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any


def texts_live() -> list[Any]:
    """Every text and every run of bytes that a live object refers to."""
    seen: set[int] = set()
    found: list[Any] = []
    pending = gc.get_objects()
    while pending:
        for each in gc.get_referents(pending.pop()):
            if id(each) in seen:
                continue
            seen.add(id(each))
            if isinstance(each, str | bytes | bytearray):
                found.append(each)
            elif not gc.is_tracked(each):  # a dict of texts, say: whatever is tracked is in the list already
                pending.append(each)
    return found


def main() -> int:
    """Run it."""
    path, *arguments = sys.argv[1:]
    from rotator.cli import main as run

    code = run(arguments)
    gc.collect()
    live = texts_live()
    held = set()
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines()):
        wanted = line[::-1]
        raw = wanted.encode()
        if any((wanted in each) if isinstance(each, str) else (raw in each) for each in live):
            held.add(number)
    print(json.dumps({"searched": len(live), "held": sorted(held)}))
    return code


if __name__ == "__main__":
    sys.exit(main())
