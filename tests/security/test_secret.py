"""A wrapped value does not come out by any of the ways in which things are usually shown."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.pretty import pretty_repr

from rotator.infobip.credentials import parse_credentials
from rotator.infobip.http import Answer, ApiCall
from rotator.infobip.wire import parse_key
from rotator.model import Key
from rotator.policy.values import decode
from rotator.ports import FetchedKey, StoredValue
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret
from tests.infobip.answers import KEY_VALUE, key
from tests.infobip.clients import PASSWORD

MANAGEMENT = json.dumps({"base_url": "https://a.api.infobip.com", "username": "u", "password": PASSWORD})
HOLDERS: dict[str, Callable[[], object]] = {
    "secret": lambda: Secret(KEY_VALUE),
    "in a list": lambda: [Secret(KEY_VALUE), {"a": (Secret(KEY_VALUE),)}],
    "fetched key": lambda: FetchedKey(Key("K", "n", None, True, None, None), Secret(KEY_VALUE)),
    "created key": lambda: parse_key(Answer("GET", 200, json.dumps(key()).encode()), created=True),
    "stored value": lambda: StoredValue("v", Secret(KEY_VALUE), frozenset()),
    "decoded value": lambda: decode(Secret(json.dumps({"api_key": KEY_VALUE})), "api_key", "prod/x"),
    "credentials": lambda: parse_credentials("infobip/main", Secret(MANAGEMENT)),
    "call": lambda: ApiCall("GET", "/x", params={"apiKeySecret": Secret(KEY_VALUE)}, form={"a": Secret(PASSWORD)}),
    "answer": lambda: Answer("GET /x", 200, KEY_VALUE.encode()),
}
WAYS: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda held: f"{held} {held!s:>40}",
    "percent": lambda held: f"%s %r" % (held, held),  # noqa: F541 - one of the ways
    "pprint": pprint.pformat,
    "rich": lambda held: pretty_repr(held, expand_all=True),
    "json": lambda held: json.dumps({"held": held}, default=str),
    "redactor": lambda held: Redactor().scrub({"held": held}),
    "exception": lambda held: "".join(traceback.format_exception_only(ValueError(held))),
    "log record": lambda held: logging.makeLogRecord({"msg": "%s", "args": (held,)}).getMessage(),
    "vars": lambda held: vars(held) if hasattr(held, "__dict__") else "",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_no_way_of_showing_shows_it(holder: str, way: str) -> None:
    """Threat: repr, str, logging or JSON of a secret value. They show <hidden>."""
    shown = str(WAYS[way](HOLDERS[holder]()))
    assert KEY_VALUE not in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "take", [pickle.dumps, copy.copy, copy.deepcopy, hash, json.dumps, lambda each: each < Secret("x"), len, bytes]
)
def test_not_written_copied_hashed_measured(take: Callable[[Any], object]) -> None:
    """Threat: pickle, copies, hashes and the length of a secret value. They are errors."""
    with pytest.raises(TypeError) as caught:
        take(Secret(KEY_VALUE))
    assert KEY_VALUE not in str(caught.value)


def test_holder_is_not_copied_to_plain_data() -> None:
    with pytest.raises(TypeError, match="never serialised"):
        asdict(StoredValue("v", Secret(KEY_VALUE), frozenset()))


def test_it_is_compared_without_being_shown() -> None:
    assert Secret(KEY_VALUE) == Secret(KEY_VALUE)
    assert Secret(KEY_VALUE) != Secret(KEY_VALUE + "x")
    assert Secret(KEY_VALUE) != KEY_VALUE
    assert Secret("é\ud800") == Secret("é\ud800")
    assert datetime.now(UTC) != Secret("x")
