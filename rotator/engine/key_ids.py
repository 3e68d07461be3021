"""Key ids on input: full ids, or the short form (``5737…48AE``) that output shows, if it matches one key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from rotator.engine.observe import Fleet
from rotator.errors import Refused
from rotator.policy.lifecycle import read_lifecycle
from rotator.ports import KeyListing
from rotator.reasons import Reason
from rotator.text import printable

_SHORT: Final = re.compile(r"([0-9A-Za-z]{4})(?:…|\.{2,3})([0-9A-Za-z]{4})")
_MOST_NAMED: Final = 10
_LENGTH: Final = 32
"""Of Infobip's ids."""


def is_short(text: str) -> bool:
    """Whether it is a short form."""
    return _SHORT.fullmatch(text) is not None


def how_to_shorten(text: str) -> str:
    """Return the advice for an id that is not found and looks like a part of one; else nothing."""
    if len(text) >= _LENGTH:
        return ""
    return f" Use the full id, or its first and last four characters: {text[:4]}...<last four>."


def whole_key_id(text: str, known: Iterable[str], where: str) -> str:
    """Return the full id.

    :param known: the ids of which a short form must match exactly one.
    :param where: what they belong to, for the error.
    :raises Refused: a short form matches none of them, or several; nothing was changed.
    """
    short = _SHORT.fullmatch(text)
    if short is None:
        return text
    first, last = (part.casefold() for part in short.groups())
    found = sorted({i for i in known if i.casefold().startswith(first) and i.casefold().endswith(last)})
    if len(found) == 1:
        return found[0]
    if not found:
        advice = "Nothing was changed. Use the full id."
        raise Refused(f"no key of {where} matches {printable(text)}", advice=advice, reason=Reason.KEY_NOT_FOUND)
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    raise Refused(
        f"{printable(text)} is ambiguous; it matches {len(found)} keys of {where}: "
        f"{', '.join(found[:_MOST_NAMED])}{more}",
        advice="Nothing was changed. Use the full id.",
    )


def account_key_id(text: str, fleet: Fleet, account: str, list_keys: Callable[[], KeyListing]) -> str:
    """Return the full id of an account's key. The keys are listed only for a short form.

    :raises RotatorError: it matches none or several, or the keys can't be listed; nothing was changed.
    """
    if not is_short(text):
        return text
    listing = list_keys()
    if not listing.complete:
        raise Refused(
            f"the key list of account {printable(account)} is incomplete, so {printable(text)} may be ambiguous",
            advice="Nothing was changed. Use the full id.",
            reason=Reason.LISTING_INCOMPLETE,
        )
    labelled = {key_id for entry in fleet.managed.get(account, ()) for key_id in read_lifecycle(entry).named}
    known = labelled | {key.id for key in listing.keys}
    return whole_key_id(text, known, f"account {printable(account)}")
