"""The tags of a managed secret: their names, how each is parsed, and checks across tags.

Every reader takes a tag's text, trimmed, and raises :class:`~rotator.text.Unreadable`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, TypeVar

from rotator.durations import format_duration, parse_duration
from rotator.errors import Refused
from rotator.model import Spec
from rotator.policy.windows import parse_window
from rotator.text import Unreadable, closest, printable, quoted

PREFIX: Final = "rotator:"
ROLE_TAG: Final = "rotator:role"
ACCOUNT_TAG: Final = "rotator:account"
BEFORE_TAG: Final = "rotator:rotate-before"
MAX_AGE_TAG: Final = "rotator:max-age"
VALIDITY_TAG: Final = "rotator:validity"
GRACE_TAG: Final = "rotator:grace"
SHORT_GRACE_TAG: Final = "rotator:allow-short-grace"
SCOPES_TAG: Final = "rotator:scopes"
FIELD_TAG: Final = "rotator:value-field"
VERIFY_TAG: Final = "rotator:verify"
PATH_TAG: Final = "rotator:verify-path"
WINDOW_TAG: Final = "rotator:window"
HOLD_TAG: Final = "rotator:hold"
GATE_TAG: Final = "rotator:gate"
KNOWN_TAGS: Final = (
    *(ROLE_TAG, ACCOUNT_TAG, BEFORE_TAG, MAX_AGE_TAG, VALIDITY_TAG, GRACE_TAG, SHORT_GRACE_TAG, SCOPES_TAG),
    *(FIELD_TAG, VERIFY_TAG, PATH_TAG, WINDOW_TAG, HOLD_TAG, GATE_TAG),
)

MIN_VALIDITY: Final = timedelta(minutes=10)
MIN_GRACE: Final = timedelta(hours=1)
"""Consumers cache a value for up to an hour; ``rotator:allow-short-grace`` says that a secret's consumers don't."""
RESERVED_FIELDS: Final = ("key_id", "expires_at", "base_url")

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/+=-]{0,127}")
_FRACTION: Final = re.compile(r"[0-9]{0,3}\.[0-9]{1,17}")
_SCOPE: Final = re.compile(r"[A-Za-z0-9:._/-]+")
_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PATH: Final = re.compile(r"/[A-Za-z0-9/_.=+-]{0,255}")


def read_scopes(text: str) -> frozenset[str]:
    """Read scopes with spaces between them, each once."""
    scopes = text.split()
    if not scopes:
        raise Unreadable(text, "lists no scope", "list the scopes, or remove the tag to keep the old key's scopes")
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            fix = "use letters, digits and : . _ / - in scopes, separated by spaces"
            raise Unreadable(scope, "is not a scope", fix)
    return frozenset(scopes)


def read_account(text: str) -> str:
    """Read an account's name."""
    if not _ACCOUNT.fullmatch(text):
        fix = "use the management secret's account name: up to 128 letters, digits, spaces and . _ @ / + = -"
        raise Unreadable(text, "is not a valid account name", fix)
    return text


def read_before(text: str) -> float | timedelta:
    """Parse a decimal fraction between 0 and 1 (exclusive), or a positive duration."""
    if _FRACTION.fullmatch(text):
        fraction = float(text)
        if not 0 < fraction < 1:
            raise Unreadable(text, "is not between 0 and 1", "use a fraction such as 0.33, or a duration such as 14d")
        return fraction
    try:
        return read_length(text)
    except Unreadable as error:
        if text.isdigit() or error.fault != "is not a duration":
            raise
        fix = "use a fraction such as 0.33, or a duration such as 14d"
        raise Unreadable(text, "is not a fraction or a duration", fix) from None


def read_length(text: str) -> timedelta:
    """Read a duration above 0."""
    length = timedelta(0) if text == "0" else parse_duration(text)
    if not length:
        raise Unreadable(text, "is not greater than zero", "use a duration such as 14d")
    return length


def read_validity(text: str) -> timedelta:
    """Read a lifetime of at least 10 minutes."""
    length = parse_duration(text)
    if length < MIN_VALIDITY:
        fix = f"use at least {format_duration(MIN_VALIDITY)}"
        raise Unreadable(text, "is below the minimum", fix)
    return length


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that accepts one of these words, ignoring case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise Unreadable(text, "is not an allowed value", f"use {' or '.join(words)}")
        return text.lower()

    return read


def read_field(text: str) -> str:
    """Read the name of a JSON value's field."""
    if not _FIELD.fullmatch(text):
        raise Unreadable(text, "is not a field's name", "use at most 64 letters, digits and _ . -")
    if text in RESERVED_FIELDS:
        raise Unreadable(text, "is a field that the rotator overwrites", "use the field that contains the key")
    return text


def read_path(text: str) -> str:
    """Read a path that can be appended to any host without changing the host."""
    segments = text.split("/")[1:]
    if not _PATH.fullmatch(text) or {".", ".."} & set(segments) or "" in segments[:-1]:
        fix = "use a path such as /account/1/balance: one slash, then letters, digits and / _ . = + -"
        raise Unreadable(text, "is not a valid probe path", fix)
    return text


T = TypeVar("T")

NO_REASON: Final = "no reason given"
"""The text of ``Spec.hold`` for an empty tag, which is still a hold."""
_DEFAULTS: Final = Spec(account="")
_NONE: Final[frozenset[str]] = frozenset()
_MORE_SCOPES: Final = re.compile(re.escape(SCOPES_TAG) + r"-([2-9]|[1-9][0-9])")


@dataclass(frozen=True, slots=True)
class TagProblem:
    """One thing that is wrong with a tag.

    :param tag: the tag to change, as printable text.
    :param detail: what is wrong, to be read after the tag's name: ``is "soon", which is not a duration``.
    :param fix: what to do, as an imperative; a value to write is in backticks.
    """

    tag: str
    detail: str
    fix: str

    def __str__(self) -> str:
        return f"{self.tag} {self.detail}; {self.fix}"


class InvalidTags(Refused):
    """A managed secret's tags cannot be read, or cannot work together; the message has the first problem.

    :param problems: all problems, at least one, in the order of the table in `docs/configuration.md`.
    """

    def __init__(self, secret: str, problems: tuple[TagProblem, ...]) -> None:
        super().__init__(f"{secret}: {problems[0].tag} {problems[0].detail}", advice=problems[0].fix)
        self.problems = problems


def role(tags: Mapping[str, str]) -> str | None:
    """Return what ``rotator:role`` says (``key``, ``management``, or something else), or ``None`` without the tag."""
    return _trimmed(tags, ROLE_TAG)


def account_of(tags: Mapping[str, str]) -> str | None:
    """Return the account's name as :func:`parse_spec` reads it, unchecked, or ``None`` without the tag."""
    return _trimmed(tags, ACCOUNT_TAG)


def parse_spec(tags: Mapping[str, str], secret: str = "the secret") -> Spec:
    """Read a managed secret's tags; those outside of ``rotator:`` are ignored.

    :param secret: its name, for the message.
    :raises InvalidTags: with every problem.
    """
    parsed = _parse(tuple(tags.items()))
    if isinstance(parsed, Spec):
        return parsed
    raise InvalidTags(secret, parsed)


def spec_or_none(tags: Mapping[str, str]) -> Spec | None:
    """Return the parsed tags, or ``None`` if they are invalid."""
    try:
        return parse_spec(tags)
    except InvalidTags:
        return None


def readable_times(tags: Mapping[str, str]) -> Spec:
    """Return what tags that are invalid as a whole say about when work is due, with defaults for what can't be read."""
    reader = _Reader(tags)
    return Spec(
        account="",
        rotate_before=reader.read(BEFORE_TAG, read_before, _DEFAULTS.rotate_before),
        max_age=reader.read(MAX_AGE_TAG, read_length, None),
        validity=reader.read(VALIDITY_TAG, read_validity, _DEFAULTS.validity),
        grace=reader.read(GRACE_TAG, parse_duration, _DEFAULTS.grace),
    )


def tag_problems(tags: Mapping[str, str]) -> tuple[TagProblem, ...]:
    """Return all problems with the tags."""
    try:
        parse_spec(tags)
    except InvalidTags as invalid:
        return invalid.problems
    return ()


@lru_cache(maxsize=4096)  # every sweep reads every secret's tags several times, and they rarely change
def _parse(items: tuple[tuple[str, str], ...]) -> Spec | tuple[TagProblem, ...]:
    tags = dict(items)
    reader = _Reader(tags)
    name = reader.read(ACCOUNT_TAG, read_account, "")
    if ACCOUNT_TAG not in tags:
        reader.say(ACCOUNT_TAG, "is missing", "tag the secret with the name of its Infobip account")
    before = reader.read(BEFORE_TAG, read_before, _DEFAULTS.rotate_before)
    max_age = reader.read(MAX_AGE_TAG, read_length, None)
    validity = reader.read(VALIDITY_TAG, read_validity, _DEFAULTS.validity)
    grace = reader.read(GRACE_TAG, parse_duration, None)
    short = reader.read(SHORT_GRACE_TAG, one_of("true", "false"), "false") == "true"
    scopes = _read_scopes(reader)
    field = reader.read(FIELD_TAG, read_field, _DEFAULTS.value_field)
    verify = reader.read(VERIFY_TAG, one_of("probe", "skip"), "probe") == "probe"
    path = reader.read(PATH_TAG, read_path, _DEFAULTS.verify_path)
    window = reader.read(WINDOW_TAG, parse_window, None)
    gate = reader.read(GATE_TAG, one_of("adoption"), None) is not None
    _check_names(reader)
    least = timedelta(0) if short else MIN_GRACE
    readable = not {BEFORE_TAG, VALIDITY_TAG, SHORT_GRACE_TAG} & {problem.tag for problem in reader.problems}
    if grace is not None and grace < least:
        fix = f"use at least `{format_duration(least)}`, or set {SHORT_GRACE_TAG}=true if no consumer caches the value"
        reader.say(GRACE_TAG, f"is {format_duration(grace)}, shorter than consumers may cache the value", fix)
        grace = None
    if max_age is not None and max_age < least:
        fix = f"use at least `{format_duration(least)}`, or set {SHORT_GRACE_TAG}=true if no consumer caches the value"
        reader.say(MAX_AGE_TAG, f"is {format_duration(max_age)}: every sweep would rotate the key", fix)
    if readable:
        grace = _check_times(reader, before, validity, grace, least)
    if reader.problems:
        return tuple(reader.problems)
    return Spec(
        account=name,
        rotate_before=before,
        max_age=max_age,
        validity=validity,
        grace=_DEFAULTS.grace if grace is None else grace,
        scopes=scopes,
        value_field=field,
        verify=verify,
        verify_path=path,
        window=window,
        # Any text means "hold". It is shown, and no text is invalid.
        hold=printable(tags[HOLD_TAG].strip(), 256) or NO_REASON if HOLD_TAG in tags else None,
        gate=gate,
    )


class _Reader:
    """Reads tag by tag and collects the problems."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.tags = tags
        self.problems: list[TagProblem] = []

    def say(self, tag: str, detail: str, fix: str) -> None:
        self.problems.append(TagProblem(printable(tag, 128), detail, fix))

    def read(self, tag: str, parse: Callable[[str], T], default: T) -> T:
        """Parse a tag. Return the default if it is not set, or can't be read, which is recorded."""
        text = _trimmed(self.tags, tag)
        if text is None:
            return default
        try:
            return parse(text)
        except Unreadable as error:
            verb = "is" if error.text == text else "contains"
            self.say(tag, f"{verb} {quoted(error.text)}, which {error.fault}", error.fix)
        return default


def _check_times(
    reader: _Reader, before: float | timedelta, validity: timedelta, grace: timedelta | None, least: timedelta
) -> timedelta:
    """Check that a replacement can be rotated when it is due, and that its grace fits into the time left then.

    The value in each fix assumes that the earlier fixes are applied, so that all of them work together.

    :param grace: the tag's value; ``None`` without the tag, in which case the default is shortened to fit.
    """
    allow = f"set {SHORT_GRACE_TAG}=true"
    if validity <= least:
        detail = (
            f"makes a replacement valid for {format_duration(validity)}, which is no longer than the minimum "
            "grace period"
        )
        validity = _DEFAULTS.validity
        reader.say(
            VALIDITY_TAG, detail, f"use `{format_duration(validity)}`, or {allow} if no consumer caches the value"
        )
    if isinstance(before, timedelta) and before >= validity:
        lives = f"a replacement is valid for {format_duration(validity)}, so it would be due immediately"
        detail = f"is {format_duration(before)}, but {lives}"
        before = _working_before(validity, least)
        reader.say(BEFORE_TAG, detail, f"use `{_written(before)}`, or raise {VALIDITY_TAG}")
    left = _left(before, validity)
    if left < least:
        detail = f"leaves {format_duration(left)} of a replacement's lifetime, less than the minimum grace period"
        before = _working_before(validity, least)
        left = _left(before, validity)
        fix = f"use `{_written(before)}`, raise {VALIDITY_TAG}, or {allow} if no consumer caches the value"
        reader.say(BEFORE_TAG, detail, fix)
    if grace is None:
        return min(_DEFAULTS.grace, left)
    if grace > left:
        detail = f"is {format_duration(grace)}, but a replacement is rotated with {format_duration(left)} left"
        fix = f"use at most `{format_duration(left)}`, or raise {BEFORE_TAG} or {VALIDITY_TAG}"
        reader.say(GRACE_TAG, detail, fix)
    return grace


def _left(before: float | timedelta, validity: timedelta) -> timedelta:
    """Return how much of a replacement's lifetime is left when it is rotated, in whole seconds."""
    length = before if isinstance(before, timedelta) else validity * before
    return timedelta(seconds=math.floor(length.total_seconds()))


def _working_before(validity: timedelta, least: timedelta) -> float | timedelta:
    default = _DEFAULTS.rotate_before
    return default if _left(default, validity) >= least else least


def _written(before: float | timedelta) -> str:
    return format_duration(before) if isinstance(before, timedelta) else str(before)


def _check_names(reader: _Reader) -> None:
    """Report unknown tags, because a misspelt tag, such as a hold, would silently have no effect."""
    for tag in sorted(reader.tags):
        if not tag.strip().lower().startswith(PREFIX) or tag in KNOWN_TAGS or _MORE_SCOPES.fullmatch(tag):
            continue
        near = closest(tag.strip(), KNOWN_TAGS, 0.7)
        fix = f"remove it; the tags are {', '.join(KNOWN_TAGS)}" if near is None else f"did you mean {near}?"
        reader.say(tag, "is not a known tag", fix)


def _read_scopes(reader: _Reader) -> frozenset[str] | None:
    """Join ``rotator:scopes``, ``-2``, ``-3`` and so on. A gap is a problem, because a tag may have been lost."""
    present = {int(match[1]): tag for tag in reader.tags if (match := _MORE_SCOPES.fullmatch(tag))}
    if SCOPES_TAG in reader.tags:
        present[1] = SCOPES_TAG
    scopes = _NONE
    for place, number in enumerate(sorted(present), 1):
        if number != place:
            missing = SCOPES_TAG if place == 1 else f"{SCOPES_TAG}-{place}"
            fix = f"add {missing}, or number the tags without a gap"
            reader.say(present[number], f"continues {missing}, which is missing", fix)
            break
        scopes |= reader.read(present[number], read_scopes, _NONE)
    return scopes or None


def _trimmed(tags: Mapping[str, str], tag: str) -> str | None:
    text = tags.get(tag)
    return None if text is None else text.strip()
