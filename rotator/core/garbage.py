"""Python's search for garbage, and where it may rest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """Keep Python from looking for objects that refer to each other in a circle and to nothing else.

    A sweep reads, and plans, by the million: objects that live, and no circle among them. As they become more, Python
    would look through all of them again and again, for a good part of a sweep's time and half of a plan's. For spans
    that end soon.

    They may overlap in several threads: who finds the search switched off leaves it off, and whoever switched it off
    switches it on again.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
