"""Untrusted input: strategies for hostile texts, JSON, keys, tags, labels and events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from rotator.policy.tags import KNOWN_TAGS
from tests.infobip.answers import KEY_VALUE, key

HOSTILE: Final = (
    "\x1b[2J\x1b]0;owned\x07",
    "a\x9b31mb\u202egnp.exe\u2028c\x00\x7f",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '=HYPERLINK("http://a.invalid")',
    "[bold red]x[/bold red]",
    "%s%n{0}{x.__class__}",
    "../../etc/passwd",
    "\udcff\ud800",
    "\u0130\u0131\u200b\ufeff",
    " \t\r\n",
    "",
    "9" * 5000,
    "x" * 500,
    "a\nb: forged\r\nc",
    KEY_VALUE,
)
"""Escapes for terminals, HTML, formulas, markup, format strings, paths, half characters, lengths, a key's value."""

TEXTS: Final[st.SearchStrategy[str]] = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=40), st.text(st.characters(categories=("C", "Z", "S")), max_size=12)
)


def result_of(call: Callable[[], object], *kinds: type[Exception]) -> tuple[object, Exception | None]:
    """What a call gives, or the error of one of these kinds that it raises; any other error is the test's failure."""
    try:
        return call(), None
    except kinds as error:
        return None, error


SCALARS: Final[st.SearchStrategy[Any]] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**301), st.floats(), TEXTS
)
JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)

_KEY_FIELDS: Final = ("id", "name", "enabled", "accountId", "validFrom", "validTo", "scopeGuids", "permissions")
_FIELDS: Final = (*_KEY_FIELDS, "allowedIPs", "platform", "apiKeySecret")
_PAGE_FIELDS: Final = ("apiKeys", "paging", "totalCount", "totalPages")
_PROBLEM: Final = ("errorCode", "description", "violations", "requestError", "serviceException", "text", "error")
_TOKEN: Final = ("token", "access_token", "expires_in", "token_type")
NEARLY_KEYS: Final[st.SearchStrategy[dict[str, Any]]] = st.builds(
    lambda change: {**key(), **change}, st.dictionaries(st.sampled_from(_FIELDS), JSON, max_size=3)
)
NEARLY_PAGES: Final[st.SearchStrategy[dict[str, Any]]] = st.builds(
    lambda keys, paging, change: {"apiKeys": keys, "paging": paging, **change},
    st.lists(NEARLY_KEYS | JSON, max_size=3),
    st.dictionaries(st.sampled_from(_PAGE_FIELDS), st.integers(-1, 10**6) | SCALARS, max_size=2),
    st.dictionaries(st.sampled_from(_PAGE_FIELDS), JSON, max_size=1),
)
NEARLY_PROBLEMS: Final[st.SearchStrategy[dict[str, Any]]] = st.dictionaries(
    st.sampled_from((*_PROBLEM, *_TOKEN)), JSON | st.dictionaries(st.sampled_from(_PROBLEM), JSON), max_size=4
)
BODIES: Final[st.SearchStrategy[bytes]] = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda body: json.dumps(body).encode(), JSON | NEARLY_KEYS | NEARLY_PAGES | NEARLY_PROBLEMS),
    st.sampled_from([b"[" * 3000, b'{"id": ' + b"9" * 5000 + b"}", b"\xff\xfe", b"<html><text>x</text>", b"\x1f\x8b"]),
)

ROTATOR_TAGS: Final[st.SearchStrategy[str]] = st.sampled_from(KNOWN_TAGS) | TEXTS.map(lambda text: f"rotator:{text}")
TAG_VALUES: Final[st.SearchStrategy[str]] = st.one_of(
    TEXTS,
    st.sampled_from(["key", "management", "main", "true", "skip", "0.33", "14d", "1d12h", "72h", "api_key"]),
    st.sampled_from(["Mon-Fri 09:00-17:00 Europe/Zagreb", "a:b c:d", "/a/b", "//elsewhere.invalid/", "/../x"]),
)
TAGS: Final[st.SearchStrategy[dict[str, str]]] = st.dictionaries(ROTATOR_TAGS | TEXTS, TAG_VALUES, max_size=8)

IDS: Final[st.SearchStrategy[str]] = st.sampled_from(["K1", "K2", "k-3_", "A" * 128]) | TEXTS
VERSIONS: Final[st.SearchStrategy[str]] = st.sampled_from([letter * 32 for letter in "abc"])
_STAMPS: Final = TEXTS | st.sampled_from(
    ["20260302T090000Z", "20260230T090000Z", "99991231T235959Z", "00000000T000000Z"]
)
LABELS: Final[st.SearchStrategy[str]] = st.one_of(
    st.sampled_from(["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"]),
    IDS.map(lambda key_id: f"rotator:key:{key_id}"),
    st.builds(lambda key_id, stamp: f"rotator:retire:{key_id}:{stamp}", IDS, _STAMPS),
    TEXTS,
)
KEY_NAMES: Final[st.SearchStrategy[str]] = st.one_of(
    TEXTS,
    st.builds(
        lambda name, deployment, version: f"{name}/rotator:{deployment}:{version}",
        st.sampled_from(["prod/x", "prod"]) | TEXTS,
        st.sampled_from(["default", "other"]) | TEXTS,
        VERSIONS | TEXTS,
    ),
)
