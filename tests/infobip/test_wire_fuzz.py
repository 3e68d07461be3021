"""Whatever comes back is read, or refused by an error of the tree."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import ContractViolation
from rotator.infobip.http import Answer
from rotator.infobip.http_errors import KnownSecrets, refusal
from rotator.infobip.wire import parse_created, parse_key, parse_page, parse_token
from tests.infobip.fake_server import KEY_VALUE, key

WHERE = "GET /x at host"


def answer(body: object, status: int = 200) -> Answer:
    return Answer(WHERE, status, body if isinstance(body, bytes) else json.dumps(body).encode())


FIELDS = st.sampled_from(
    ["id", "name", "enabled", "apiKeys", "paging", "platform", "validTo", "violations", "requestError", "token"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | FIELDS, inner),
    max_leaves=20,
)
NEARLY_KEYS = st.builds(lambda change: {**key(), **change}, st.dictionaries(FIELDS, JSON))
PARSERS: list[Callable[[Answer], object]] = [
    parse_key,
    parse_created,
    parse_page,
    lambda each: parse_token(each, "token"),
]


@given(JSON | st.binary() | NEARLY_KEYS, st.sampled_from(PARSERS))
def test_any_answer_is_read_or_refused(body: object, parse: Callable[[Answer], object]) -> None:
    said = ""
    try:
        parse(answer(body))
    except ContractViolation as error:
        said = str(error)
    assert not said or said.isprintable()
    assert KEY_VALUE not in said


@given(JSON | st.binary(), st.integers(100, 999))
def test_any_refusal_is_an_error_of_the_tree(body: object, status: int) -> None:
    assert str(refusal(answer(body, status), KnownSecrets(lambda _: None), key_id="K")).isprintable()
