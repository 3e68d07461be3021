"""Short words for snapshots and for what a plan says of them, so that a table of cases can be read.

Everything is relative to :data:`NOW` (a Monday, 09:00 UTC). Versions and keys have short names (``v1``, ``K1``); a
version's name stands for a whole version id, which :func:`vid` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.durations import parse_duration
from rotator.model import AccountSnapshot, Key, Platform, Policy, Resolution, SecretEntry
from rotator.plan import AccountPlan, Action
from rotator.policy.labels import key_label, key_name, retire_label
from rotator.policy.planner import plan_account
from rotator.reasons import Reason

NOW: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
REGION: Final = "eu-central-1"
POLICY: Final = Policy()
SCOPES: Final = frozenset({"sms:manage"})
PLATFORM: Final = frozenset({Platform("app")})
ACCOUNT: Final = "main"
_VERSION_TAIL: Final = "-0000-4000-8000-000000000000"


def vid(name: str) -> str:
    """A whole version id for a short name of at most 8 letters and digits."""
    return name.rjust(8, "0") + _VERSION_TAIL


def short(version_id: str | None) -> str:
    """The short name again; ``-`` for none."""
    return "-" if version_id is None else version_id.removesuffix(_VERSION_TAIL).lstrip("0")


def at(offset: str) -> datetime:
    """A moment as ``+3d``, ``-1h30m`` or ``+0s`` from :data:`NOW`."""
    length = parse_duration(offset[1:])
    return NOW + length if offset[0] == "+" else NOW - length


def labels(text: str) -> frozenset[str]:
    """Staging labels out of words: ``CURRENT PREVIOUS PENDING key:K1 retire:K1:+3d``, and any other as it is."""
    return frozenset(_label(word) for word in text.split())


def _label(word: str) -> str:
    kind, _, rest = word.partition(":")
    if word in ("CURRENT", "PREVIOUS", "PENDING"):
        return f"AWS{word}"
    if kind == "key":
        return key_label(rest)
    if kind == "retire":
        key_id, _, offset = rest.partition(":")
        return retire_label(key_id, at(offset))
    return word


def arn_of(name: str, region: str = REGION) -> str:
    """The ARN of a secret."""
    return f"arn:aws:secretsmanager:{region}:123456789012:secret:{name}-AbCdEf"


def secret(
    name: str,
    versions: Mapping[str, str] | None = None,
    *,
    account: str = ACCOUNT,
    owner: str | None = None,
    primary: str | None = None,
    deleted: datetime | None = None,
    **tags: str,
) -> SecretEntry:
    """A managed secret; without ``versions`` it holds key ``K1`` in version ``v1``.

    :param versions: short version names to labels as :func:`labels` reads them.
    :param tags: tag names without ``rotator:``, underscores for dashes.
    """
    versions = {"v1": "CURRENT key:K1"} if versions is None else versions
    entry = SecretEntry(
        arn=arn_of(name),
        name=name,
        tags={"rotator:role": "key", "rotator:account": account},
        versions={vid(version): labels(words) for version, words in versions.items()},
        owning_service=owner,
        primary_region=primary,
        deleted_at=deleted,
    )
    return tagged(entry, tags)


def tagged(entry: SecretEntry, tags: Mapping[str, str]) -> SecretEntry:
    """The same secret with more tags, named as for :func:`secret`."""
    named = {f"rotator:{tag.replace('_', '-')}": value for tag, value in tags.items()}
    return replace(entry, tags={**entry.tags, **named})


def key(
    key_id: str = "K1",
    *,
    left: timedelta | None = 300 * DAY,
    age: timedelta | None = 65 * DAY,
    name: str = "made by hand",
    enabled: bool = True,
    scopes: frozenset[str] | None = SCOPES,
    platform: frozenset[Platform] = frozenset(),
    readable: bool = False,
) -> Key:
    """A key that is ``age`` old and has ``left`` to live; ``None`` is a key without such a time."""
    return Key(
        id=key_id,
        name=name,
        account_id=None,
        enabled=enabled,
        valid_from=None if age is None else NOW - age,
        valid_to=None if left is None else NOW + left,
        scopes=scopes,
        platform=platform,
        value_readable=readable,
    )


def own(secret_name: str, version: str, deployment: str = "default") -> str:
    """The name that the rotator gives to a key that it makes for a secret's version."""
    return key_name(secret_name, arn_of(secret_name), deployment, vid(version))


def snap(
    secrets: Iterable[SecretEntry] = (),
    keys: Iterable[Key] = (),
    *,
    others: Iterable[SecretEntry] = (),
    values: Mapping[tuple[str, str], Resolution | str] | None = None,
    copies: Mapping[str, tuple[str, ...]] | None = None,
    skew: timedelta | None = None,
    complete: bool = True,
    password_age: timedelta | None = None,
) -> AccountSnapshot:
    """A snapshot.

    :param values: by secret and short version name, what reading the value gave; a text is the key that was found.
    :param copies: by key, the secrets whose values were found to hold it, where they were searched.
    :param password_age: since when the management secret has not changed; ``None`` is not known.
    """
    management = SecretEntry(
        arn=arn_of("infobip"),
        name="infobip",
        tags={"rotator:role": "management", "rotator:account": ACCOUNT},
        versions={vid("m1"): labels("CURRENT")},
        last_changed=None if password_age is None else NOW - password_age,
    )
    return AccountSnapshot(
        account=ACCOUNT,
        management=management,
        secrets=tuple(secrets),
        keys={each.id: each for each in keys},
        others=tuple(others),
        values={
            (arn_of(name), vid(version)): Resolution(found) if isinstance(found, str) else found
            for (name, version), found in (values or {}).items()
        },
        copies=copies or {},
        skew=skew,
        complete=complete,
    )


def say_action(action: Action) -> str:
    """``kind reason secret key@version``."""
    return f"{action.kind} {action.reason} {action.secret} {action.key_id or '-'}@{short(action.version_id)}"


_IN_ANY_ORDER: Final = ("skip ", "error ", "warning ", "read ", "search ", "look ")


@dataclass(frozen=True)
class Case:
    """One row of a table: a snapshot, and everything that the plan must say of it: nothing more, nothing less.

    :param said: separated by ``; ``: the actions in order, as :func:`say_action` says them, and in any order what is
        skipped as ``skip secret reason`` and the alerts as ``severity kind secret key``; each with a part of its detail
        in parentheses, where that matters.
    :param overdue: whether the alerts ``overdue`` are compared too. By default they are not: most rows are about
        something else, their keys are due since whenever it suits them, and a property tells what is overdue.
    :param asks: whether the plan's questions are compared too: ``read secret version``,
        ``search key`` and ``look key`` (in other accounts).
    """

    name: str
    snapshot: AccountSnapshot
    said: str = ""
    force: bool = False
    secret: str | None = None
    policy: Policy = field(default=POLICY)
    now: datetime = NOW
    overdue: bool = False
    asks: bool = False

    def plan(self) -> AccountPlan:
        """Plan it."""
        return plan_account(self.snapshot, self.policy, self.now, force=self.force, secret=self.secret)

    def check(self) -> AccountPlan:
        """Plan it and compare; gives the plan for a closer look."""
        plan = self.plan()
        alerts = [alert for alert in plan.alerts if self.overdue or alert.kind is not Reason.OVERDUE]
        actions = [(say_action(action), action.detail) for action in plan.actions]
        rest = [(f"skip {skip.secret} {skip.reason}", skip.detail) for skip in plan.skipped]
        rest += [(f"{a.severity} {a.kind} {a.secret or '-'} {a.key_id or '-'}", a.detail) for a in alerts]
        if self.asks:
            names = {entry.arn: entry.name for entry in self.snapshot.secrets}
            rest += [(f"read {names[arn]} {short(version)}", "-") for arn, version in plan.questions.values]
            rest += [(f"search {key_id}", "-") for key_id in plan.questions.copies]
            rest += [(f"look {key_id}", "-") for _, key_id in plan.questions.elsewhere]
        wanted = [item.removesuffix(")").partition(" (") for item in self.said.split("; ") if item]
        others = sorted((what, part) for what, _, part in wanted if what.startswith(_IN_ANY_ORDER))
        in_order = [(what, part) for what, _, part in wanted if (what, part) not in others]
        for told, expected in ((actions, in_order), (sorted(rest), others)):
            same = [what for what, _ in told] == [what for what, _ in expected]
            assert same, f"\nplanned: {told}\nwanted:  {expected}"
            for (_, detail), (what, part) in zip(told, expected, strict=True):
                assert part in detail, f"{what}: {part!r} is not in {detail!r}"
        assert all(detail for _, detail in rest), "whatever is skipped or an alert says why"
        return plan

    def __str__(self) -> str:
        return self.name
