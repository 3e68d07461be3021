"""A command line's world whose secrets and keys a test looks at."""

from __future__ import annotations

from tests.cli.local_stack import Stack
from tests.support.eyes import Eyes


class SeenStack(Stack, Eyes):
    """What the fixture ``stack`` gives."""
