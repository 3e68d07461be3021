"""What a dump of frames would show: the program's own locals, as rich and structlog print them into a traceback."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.traceback import Traceback
from structlog.tracebacks import ExceptionDictTransformer

import rotator

_ROOT = str(Path(rotator.__file__).parent)
# The simulated Infobip and AWS hold every value, and have to.
_SANDBOX = str(Path(_ROOT) / "sandbox")


def is_ours(filename: str) -> bool:
    """Whether it is the program's own code, and not the sandbox."""
    return filename.startswith(_ROOT) and not filename.startswith(_SANDBOX)


def own_frames(innermost: FrameType | None = None) -> Iterator[FrameType]:
    """The program's frames that are active now, innermost first."""
    frame = innermost or sys._getframe(1)
    while frame is not None:
        if is_ours(frame.f_code.co_filename):
            yield frame
        if frame.f_back is None:
            return
        frame = frame.f_back


def shown(frame: FrameType) -> str:
    """A frame's locals under the name of its function."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}\n{dict(frame.f_locals)!r}"


def as_shown(error: BaseException) -> str:
    """An error as the most verbose handlers show it: rich and structlog with all locals, and the library's own."""
    screen = io.StringIO()
    pretty = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=10_000, locals_max_string=1_000_000
    )
    Console(file=screen, width=400).print(pretty)
    dicts = ExceptionDictTransformer(
        show_locals=True, locals_max_length=100_000, locals_max_string=1_000_000, max_frames=200
    )((type(error), error, error.__traceback__))
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    # A test's own frames hold what it searches for.
    plain = "\n".join(f"{each.filename} {each.locals}" for each in whole.stack if "/tests/" not in each.filename)
    frames = [each for raised in dicts for each in raised["frames"] if "/tests/" not in each["filename"]]
    ours = _without_tests(screen.getvalue())
    return "\n".join([str(error), repr(error), plain, str(frames), ours])


def _without_tests(screen: str) -> str:
    """rich's boxes, one a frame, less those of test files."""
    parts = screen.split("\n│ /")
    return "\n".join(part for part in parts if "/tests/" not in part.splitlines()[0])
