"""Tables of cases as text: a name, what is there, and after ``->`` everything that the plan says of it.

::

    the key in use is disabled: replaced first, the old one stays
        s scopes=a {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2 left=9d disabled
        -> rotate key-disabled s K2@v2; skip s current-key-broken; error current-key-broken s K1

A word in capitals is a key, as :func:`tests.policy.build.key` makes it:
    ``left=9d`` or ``never``, ``age=1h`` or ``unknown``, ``disabled``, ``readable``, ``platform``, ``scopes=none`` or
    ``hidden``, ``for=s@v8``: named by the rotator for that version (``s@v8@blue``: by another deployment), ``in=old``:
    not of this account, and found in that one.
Any other word is a secret with its tags, and its versions in braces; without them it holds ``K1`` in ``v1``.
    ``account=other``, ``owner=``, ``primary=``, ``changed=2d`` (ago) and ``deleted`` are no tags. In the braces
    ``value=`` is what reading the value gave: a key, ``foreign`` (none of this account; ``foreign+K7``: but it holds
    ``K7``) or ``unreadable``.
After ``with``:
    ``force``, ``secret=s``, ``deployment=blue``, ``limit=4-2`` (a day, less the reserve), ``now=+1d``, ``skew=5m``,
    ``incomplete`` (the listing), ``found=Z:t`` (``Z`` was searched for in all values, and found in ``t``),
    ``unread=Z`` (could not be read by its id), ``nowhere=Z`` (looked for in all other accounts; ``Z:old``: but not in
    that one).
``6 x s#`` stands for ``s0`` to ``s5``, on either side (``s##``: ``s00``).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import timedelta
from textwrap import dedent

from rotator.durations import parse_duration
from rotator.model import AccountSnapshot, Elsewhere, Key, Policy, Resolution, SecretEntry
from tests.policy.build import ACCOUNT, DAY, NOW, PLATFORM, SCOPES, Case, at, key, own, secret, snap

Fields = dict[str, str]
Values = dict[tuple[str, str], Resolution]
KEY_WORDS = {"left", "age", "disabled", "readable", "platform", "scopes", "for", "in"}
OPTIONS = {"force", "secret", "deployment", "limit", "now", "skew", "incomplete", "found", "unread", "nowhere"}


def table(text: str, *, overdue: bool = False, asks: bool = False) -> tuple[Case, ...]:
    """The cases of a text; a line that is not indented begins one.

    :param overdue: whether the alerts ``overdue`` are compared too, and with ``asks`` what the plan asks for.
    """
    cases = []
    for block in re.split(r"\n(?=\S)", dedent(text).strip()):
        name, _, rest = block.partition("\n")
        given, _, said = rest.partition("->")
        cases.append(replace(case(name, given, said), overdue=overdue, asks=asks))
    return tuple(cases)


def observed(text: str) -> AccountSnapshot:
    """What is there in a case, by itself."""
    return case("", text).snapshot


def case(name: str, given: str, said: str = "") -> Case:
    """One case, whose two sides a builder puts together."""
    secrets: list[SecretEntry] = []
    keys: list[Key] = []
    values: Values = {}
    options: Fields = {}
    elsewhere: dict[str, Elsewhere] = {}
    for item in _items(given):
        head, *words = item.split()
        if head == "with":
            options = _fields(words, OPTIONS)
        elif head[0].isupper():
            made = _key(head, _fields(words, KEY_WORDS))
            if "in" in _fields(words, KEY_WORDS):
                elsewhere[head] = Elsewhere(_fields(words, KEY_WORDS)["in"], made)
            else:
                keys.append(made)
        else:
            secrets.append(_secret(item, values))
    limit, reserve = options.get("limit", "40-8").split("-")
    searched = (pair.split(":") for pair in filter(None, options.get("found", "").split(",")))
    snapshot = snap(
        [entry for entry in secrets if entry.tags["rotator:account"] == ACCOUNT],
        keys,
        others=[entry for entry in secrets if entry.tags["rotator:account"] != ACCOUNT],
        values=values,
        copies={key_id: tuple(filter(None, where.split("+"))) for key_id, where in searched},
        skew=_length(options["skew"]) if "skew" in options else None,
        complete="incomplete" not in options,
    )
    for pair in filter(None, options.get("nowhere", "").split(",")):
        key_id, _, unasked = pair.partition(":")
        elsewhere[key_id] = Elsewhere(unasked=tuple(filter(None, [unasked])))
    unread = frozenset(filter(None, options.get("unread", "").split(",")))
    snapshot = replace(snapshot, elsewhere=elsewhere, unreadable_keys=unread)
    policy = Policy(options.get("deployment", "default"), int(limit), int(reserve))
    now = at(options.get("now", "+0s"))
    return Case(name, snapshot, "; ".join(_items(said)), "force" in options, options.get("secret"), policy, now)


def _items(side: str) -> list[str]:
    """The items of one side, each as often as it says."""
    found: list[str] = []
    for item in filter(None, map(str.strip, " ".join(side.split()).split(";"))):
        repeated = re.fullmatch(r"(\d+) x (.*)", item)
        count, each = (int(repeated[1]), repeated[2]) if repeated else (1, item)
        found += [re.sub("#+", lambda run, n=number: f"{n:0{len(run[0])}}", each) for number in range(count)]
    return found


def _fields(words: list[str], known: set[str]) -> Fields:
    found = {name: value for name, _, value in (word.partition("=") for word in words)}
    assert found.keys() <= known, f"unknown: {found.keys() - known}"
    return found


def _length(text: str) -> timedelta:
    return -parse_duration(text[1:]) if text[0] == "-" else parse_duration(text)


def _secret(item: str, values: Values) -> SecretEntry:
    head, *found = re.split(r"\s*\{", item.replace("}", ""))
    name, *words = shlex.split(head)
    tags = {tag: value for tag, _, value in (word.partition("=") for word in words)}
    kinds = {word: tags.pop(word) for word in ("account", "owner", "primary") if word in tags}
    deleted = NOW if tags.pop("deleted", None) is not None else None
    changed = NOW - _length(tags.pop("changed")) if "changed" in tags else None
    versions: Fields = {}
    for text in filter(None, found):
        version, *labels = text.split()
        versions[version] = " ".join(label for label in labels if not label.startswith("value="))
        for label in labels:
            if label.startswith("value="):
                values[name, version] = _value(label.partition("=")[2])
    entry = secret(name, versions if found else None, deleted=deleted, **kinds, **tags)
    return replace(entry, last_changed=changed)


def _value(text: str) -> Resolution:
    if text == "unreadable":
        return Resolution(None, "kms:Decrypt is denied")
    what, *holds = text.split("+")
    return Resolution(what) if what != "foreign" else Resolution(None, "no key", True, frozenset(holds))


def _key(key_id: str, fields: Fields) -> Key:
    def moment(name: str, never: str, default: timedelta) -> timedelta | None:
        text = fields.get(name)
        return default if text is None else None if text == never else _length(text)

    made_for = fields.get("for")
    return key(
        key_id,
        left=moment("left", "never", 300 * DAY),
        age=moment("age", "unknown", 65 * DAY),
        name="made by hand" if made_for is None else own(*made_for.split("@")),
        enabled="disabled" not in fields,
        scopes={"none": frozenset(), "hidden": None}.get(fields.get("scopes", ""), SCOPES),
        platform=PLATFORM if "platform" in fields else frozenset(),
        readable="readable" in fields,
    )
