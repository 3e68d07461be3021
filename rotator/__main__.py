"""``python -m rotator``."""

from __future__ import annotations

from rotator.cli import main

raise SystemExit(main())
