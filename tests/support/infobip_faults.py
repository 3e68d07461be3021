"""What the simulated Infobip can be made to do wrong, by what it is and not by how the sandbox does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from rotator.sandbox.exchange import Request, Response
from tests.support.faulty_infobip import Fault, FaultKind, FaultyInfobip

KEYS: Final = r"^/settings/2/api-keys$"
THROTTLED: Final = 429


@dataclass(frozen=True)
class InfobipFaults:
    """Faults of one Infobip; each lasts until :meth:`clear`, unless it says otherwise."""

    infobip: FaultyInfobip

    def clear(self) -> None:
        self.infobip.faults.clear()

    def refuse_creates(self, status: int = THROTTLED) -> None:
        self._add(FaultKind.STATUS_BEFORE, "POST", KEYS, status=status)

    def refuse_value_search(self, status: int = 503) -> None:
        """Every search by a key's value is refused."""
        self._add(FaultKind.STATUS_BEFORE, "GET", KEYS, param="apiKeySecret", status=status)

    def ignore_value_search(self) -> None:
        """A search by a key's value lists every key, as an Infobip does that does not know the filter."""
        self._add(FaultKind.IGNORE_FILTER, "GET", KEYS, param="apiKeySecret")

    def show_masks(self) -> None:
        """Reads show a mask in the place of a key's value; only a create shows the value."""
        self.infobip.options.reveal = False

    def hide_from_lists(self) -> None:
        """No key is listed any more; each can be read by its id."""
        self.infobip.options.listing_delay = timedelta(days=3650)

    def cut_the_list_of_disabled_keys(self) -> None:
        """More keys are disabled than the pages of a list show; those that are shown are none of today's."""

        def cut(_request: Request, answer: Response | None) -> None:
            if answer is not None and answer.status == 200:
                paging = {"page": 0, "size": 100, "totalPages": 300, "totalCount": 30_000}
                object.__setattr__(answer, "body", json.dumps({"apiKeys": [], "paging": paging}).encode())

        self._add(FaultKind.HOOK_AFTER, "GET", KEYS, when=_of_disabled, hook=cut)

    def before_create(self, act: Callable[[], None]) -> None:
        """Once, right before the next create: something else happens."""
        self._add(FaultKind.HOOK_BEFORE, "POST", KEYS, count=1, hook=lambda _request, _answer: act())

    def begin_new_keys_later(self, by: timedelta) -> None:
        """Every new key begins that much after its creation, whatever was asked."""

        def postpone(request: Request, _answer: Response | None) -> None:
            begins = self.infobip.clock.now() + by
            body = {**json.loads(request.body), "validFrom": f"{begins:%Y-%m-%dT%H:%M:%S}"}
            object.__setattr__(request, "body", json.dumps(body).encode())

        self._add(FaultKind.HOOK_BEFORE, "POST", KEYS, hook=postpone)

    def _add(self, kind: FaultKind, method: str | None, path: str, *, count: int | None = None, **how: Any) -> None:
        self.infobip.faults.add(Fault(kind, method, path, count=count, **how))


def _of_disabled(request: Request) -> bool:
    return request.query.get("enabled") == "false"
