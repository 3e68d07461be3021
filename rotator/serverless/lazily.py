"""A module that others import and that a sweep never uses is loaded at its first use: a cold start does without it.

structlog imports asyncio, for loggers that can be awaited: a twentieth of all the time until a Lambda is ready.
"""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

_lock: Final = threading.Lock()


class PutOff(ModuleType):
    """Stands for a module in ``sys.modules``, and becomes it when something of it is asked for.

    The standard library's ``LazyLoader`` does not do: the import statement itself looks at ``__spec__``, which it
    takes for a use.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet: everything."""
        with _lock:  # and no longer: an import inside of a lock could wait for another thread's import for ever
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        whole = importlib.import_module(self.__name__)
        # Whoever imported this one keeps it.
        self.__dict__.update({key: value for key, value in vars(whole).items() if key not in self.__dict__})
        return getattr(whole, name)


def put_off(name: str) -> None:
    """Make ``import name`` cost nothing until the module is used. One that is loaded, or not there, stays as it is.

    :param name: a top-level module's.
    """
    if name in sys.modules:
        return
    spec = PathFinder.find_spec(name)
    if spec is not None:
        sys.modules[name] = PutOff(spec)
