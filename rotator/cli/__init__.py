"""The command line. Only what every call needs is imported here; commands import the rest when they run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (the console script ``rotator``). Never raises.

    :param arguments: the arguments after the program's name; ``sys.argv`` by default.
    :returns: 0 done, 1 something failed, 2 usage or configuration, 3 ``plan --exit-code`` with work to do,
        4 with no work but something to fix, 130 and 143 if a signal ended it.
    """
    try:
        import click  # noqa: F401 - only whether it is there
    except ImportError:
        print(
            "rotator: The command line needs click and rich, which are not installed. "
            "Install them from a clone of the repository: pip install '.[cli]'.",
            file=sys.stderr,
        )
        return 2
    from rotator.cli.process import run

    return run(sys.argv[1:] if arguments is None else list(arguments))
