"""What keeps a due rotation waiting: scopes, labels, windows; over the composed chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import Key
from rotator.policy.emergency_ids import emergency_version_id
from rotator.policy.labels import key_name
from tests.policy.build import DAY, HOUR, MINUTE, NOW, PLATFORM, SECOND, Case, arn_of, key, own, secret, snap
from tests.policy.test_rotation_due import OTHER, due, lived

SHUT = "Mon 08:00-09:00 UTC"
"""Shut since this very second, open again in 7 days less an hour."""
OPENS = 7 * DAY - HOUR
FULL = {
    "v9": "CURRENT PENDING key:K1",
    "v8": "PREVIOUS key:O8 retire:O8:+1d",
    **{f"v{n}": f"key:O{n} retire:O{n}:+1d" for n in range(3, 8)},
}
"""Sixteen labels; a rotation adds two."""
GRACING = [key(f"O{n}") for n in range(3, 9)]

WAITS = (
    Case(
        "the old key shows no scopes",
        snap([secret("s")], [replace(lived(DAY), scopes=None)]),
        skipped=("s no-scopes",),
        alerts=("error no-scopes s K1",),
    ),
    Case(
        "the old key has no scopes: they are not guessed",
        snap([secret("s")], [replace(lived(DAY), scopes=frozenset())]),
        skipped=("s no-scopes",),
        alerts=("error no-scopes s K1",),
    ),
    Case(
        "the old key shows no scopes, the tag does",
        snap([secret("s", scopes="sms:manage")], [replace(lived(DAY), scopes=None)]),
        actions=("rotate expiring s K1@v1",),
    ),
    Case(
        "not found, and no tag says what it could do",
        snap([secret("s"), OTHER], [key("O")]),
        skipped=("s no-scopes",),
        alerts=("error no-scopes s K1",),
    ),
    Case(
        "linked to platforms, which need no scopes",
        snap([secret("s")], [replace(lived(DAY), scopes=None, platform=PLATFORM)]),
        actions=("rotate expiring s K1@v1",),
    ),
    Case(
        "linked to platforms, which exclude the tagged scopes",
        snap([secret("s", scopes="sms:manage")], [replace(lived(DAY), scopes=None, platform=PLATFORM)]),
        skipped=("s misconfigured",),
        alerts=("error misconfigured s K1",),
    ),
    Case("no scopes are no trouble while nothing is due", snap([secret("s")], [key(scopes=None)])),
    Case(
        "18 labels after it: goes",
        snap([secret("s", FULL)], [lived(DAY), *GRACING]),
        actions=("rotate expiring s K1@v9",),
    ),
    Case(
        "19 labels after it: waits",
        snap([secret("s", {**FULL, "v2": "note"})], [lived(DAY), *GRACING]),
        skipped=("s label-limit",),
        alerts=("error label-limit s K1",),
    ),
    Case(
        "20 labels after it, and consumers have no working key: goes",
        snap([secret("s", {**FULL, "v2": "note", "v1": "a"})], [key(enabled=False), *GRACING]),
        actions=("rotate key-disabled s K1@v9",),
    ),
    Case(
        "21 labels after it: AWS allows no more, whatever is broken",
        snap([secret("s", {**FULL, "v2": "note", "v1": "a b"})], [key(enabled=False), *GRACING]),
        skipped=("s label-limit",),
        alerts=("error label-limit s K1",),
    ),
    Case(
        "labels that the rotation itself moves are not counted twice, those that it brings are",
        snap(
            [secret("s", {**FULL, "v9": "CURRENT key:K1", "v8": "key:O8 retire:O8:+1d"})],
            [lived(DAY), *GRACING],
        ),
        actions=("rotate expiring s K1@v9",),
    ),
    Case(
        "one more label beside those that it brings",
        snap(
            [secret("s", {**FULL, "v9": "CURRENT key:K1", "v8": "key:O8 retire:O8:+1d", "v2": "a"})],
            [lived(DAY), *GRACING],
        ),
        skipped=("s label-limit",),
        alerts=("error label-limit s K1",),
    ),
    Case(
        "an unlabelled value: 18 labels after adoption and rotation",
        snap([secret("s", {**FULL, "v9": "CURRENT"})], [lived(DAY), *GRACING], resolved={"s": "K1"}),
        actions=("label unadopted s K1@v9", "rotate expiring s K1@v9"),
    ),
    Case(
        "an unlabelled value: 19 labels after adoption and rotation",
        snap([secret("s", {**FULL, "v9": "CURRENT a"})], [lived(DAY), *GRACING], resolved={"s": "K1"}),
        actions=("label unadopted s K1@v9",),
        skipped=("s label-limit",),
        alerts=("error label-limit s K1",),
    ),
)

MADE = NOW - DAY + SECOND
REJECTED = key("R0", name=own("s", "r0"), enabled=False)
REJECTED = replace(REJECTED, valid_from=MADE, valid_to=MADE + 5 * MINUTE)
"""A replacement that was made less than 24 hours ago and ended within 5 minutes."""


CUT_OFF = key(enabled=False)
"""``K1``, ended by somebody long after it was made."""


def emergency(name: str, seed: str) -> str:
    """The name of a key that an emergency made."""
    return key_name(name, arn_of(name), "default", emergency_version_id(arn_of(name), None, seed))


def brief(key_id: str, ago: timedelta, name: str = "s", version: str | None = None) -> Key:
    """A key that was made for a secret so long ago, and ended a minute later."""
    made = NOW - ago
    named = own(name, version or key_id.lower())
    return replace(key(key_id, name=named, enabled=False), valid_from=made, valid_to=made + MINUTE)


def rejected(name: str, count: int, *odd: Key, waits: bool) -> Case:
    """A key that is due, and so many replacements that were rejected, and some that are not quite that."""
    keys = [
        lived(10 * DAY),
        *(replace(REJECTED, id=f"R{n}", name=own("s", f"r{n}")) for n in range(1, count + 1)),
        *odd,
    ]
    snapshot = snap([secret("s")], keys)
    if waits:
        return Case(name, snapshot, skipped=("s daily-limit",), alerts=("error daily-limit s K1",))
    return Case(name, snapshot, actions=("rotate expiring s K1@v1",))


REJECTIONS = (
    rejected("three replacements were rejected today: once more", 3, waits=False),
    rejected("four replacements were rejected today: that is enough", 4, waits=True),
    rejected("a fourth, to the second", 3, REJECTED, waits=True),
    *(
        rejected(f"a fourth {why}: does not count", 3, odd, waits=False)
        for why, odd in (
            ("a day ago", replace(REJECTED, valid_from=NOW - DAY, valid_to=NOW - DAY + MINUTE)),
            ("that lived longer", replace(REJECTED, valid_to=MADE + 5 * MINUTE + SECOND)),
            ("that was enabled again", replace(REJECTED, enabled=True)),
            ("that never says when it was made", replace(REJECTED, valid_from=None)),
            ("that never ended", replace(REJECTED, valid_to=None)),
            ("of another deployment", replace(REJECTED, name=own("s", "r0", "blue"))),
            ("of another secret", replace(REJECTED, name=own("t", "r0"))),
            ("made by hand", replace(REJECTED, name="by hand")),
            ("made by an emergency", replace(REJECTED, name=emergency("s", "r0"))),
        )
    ),
    Case(
        "rejected ones are no reason not to go on with what is made",
        snap(
            [secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"})],
            [key(), key("K2"), *(replace(REJECTED, id=f"R{n}", name=own("s", f"r{n}")) for n in range(1, 9))],
        ),
        actions=("resume pending s K2@v2",),
    ),
)


def broken(name: str, *made: timedelta, retried: bool, current: Key = CUT_OFF, **labels: str) -> Case:
    """A key that does not work any more, and replacements for it, made and ended so long ago."""
    keys = [brief(f"R{n}", ago) for n, ago in enumerate(made)]
    versions = {"v1": "CURRENT key:K1", **labels}
    snapshot = snap([secret("s", versions, scopes="sms:manage")], [current, *keys])
    reason = "expired" if current.enabled else "key-disabled"
    if current.alive(NOW):
        reason = "expiring"
    if retried:
        return Case(name, snapshot, actions=(f"rotate {reason} s K1@v1",))
    return Case(name, snapshot, skipped=("s daily-limit",), alerts=("error daily-limit s K1",))


def crowd(name: str, last: timedelta, *, retried: bool) -> Case:
    """Three secrets whose keys do not work, and whose replacements are rejected one like the other."""
    names = ("a", "b", "c")
    keys = [replace(CUT_OFF, id=f"K{one}") for one in names]
    keys += [brief(f"R{one}{n}", last + n * MINUTE, one, f"{one}{n}") for one in names for n in range(4)]
    secrets = [secret(one, {"v1": f"CURRENT key:K{one}"}, scopes="sms:manage") for one in names]
    if retried:
        return Case(name, snap(secrets, keys), actions=tuple(f"rotate key-disabled {one} K{one}@v1" for one in names))
    alerts = tuple(f"error daily-limit {one} K{one}" for one in names)
    return Case(name, snap(secrets, keys), skipped=tuple(f"{one} daily-limit" for one in names), alerts=alerts)


M = MINUTE
TOLD = 5 * MINUTE
"""A sweep that comes so much early finds it ready."""
BROKEN = (
    broken("no working key, three rejections: once more", 3 * M, 2 * M, 1 * M, retried=True),
    broken(
        "no working key, four rejections, the last a minute ago: a pause", 4 * M, 3 * M, 2 * M, 1 * M, retried=False
    ),
    broken(
        "no working key, four rejections, the last an hour ago: again",
        *(4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR - TOLD),
        retried=True,
    ),
    broken(
        "no working key, four rejections: a second before",
        *(4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR - TOLD - SECOND),
        retried=False,
    ),
    broken("five rejections: two hours", *[2 * HOUR - TOLD + n * HOUR for n in range(5)], retried=True),
    broken("five rejections: a second before", *[2 * HOUR - TOLD - SECOND + n * HOUR for n in range(5)], retried=False),
    broken("six rejections: four hours", *[4 * HOUR - TOLD + n * HOUR for n in range(6)], retried=True),
    broken("six rejections: a second before", *[4 * HOUR - TOLD - SECOND + n * HOUR for n in range(6)], retried=False),
    broken("ever so many: four hours all the same", *[4 * HOUR - TOLD + n * MINUTE for n in range(30)], retried=True),
    broken("ever so many: a second before", *[4 * HOUR - TOLD - SECOND + n * M for n in range(30)], retried=False),
    broken("ended: as if it were disabled", HOUR, HOUR, HOUR, HOUR, retried=True, current=lived(-DAY)),
    broken("less than a day left: it can't wait for a day either", *[HOUR] * 4, retried=True, current=lived(DAY)),
    broken(
        "more than a day left: it waits until they are older", *[HOUR] * 4, retried=False, current=lived(DAY + SECOND)
    ),
    broken(
        "made before the current key: a success came after them",
        *(9 * M, 8 * M, 7 * M, 6 * M),
        retried=True,
        current=replace(CUT_OFF, valid_from=NOW - 5 * M, valid_to=NOW - 4 * M),
    ),
    broken(
        "made within minutes of the current key: they lost a race to it",
        *(9 * M, 8 * M, 7 * M, 6 * M),
        retried=True,
        current=replace(CUT_OFF, valid_from=NOW - 11 * M, valid_to=NOW - 10 * M),
    ),
    broken(
        "made later than that: rejected",
        *(9 * M, 8 * M, 7 * M, 6 * M - SECOND),
        retried=False,
        current=replace(CUT_OFF, valid_from=NOW - 14 * M - SECOND, valid_to=NOW - 10 * M),
    ),
    broken(
        "a current key from the future proves nothing",
        *(4 * M, 3 * M, 2 * M, 1 * M),
        retried=False,
        current=replace(CUT_OFF, valid_from=NOW + DAY, valid_to=NOW + 2 * DAY),
    ),
    broken("the last one is the previous version: it was current once", *[M] * 4, retried=True, r3="PREVIOUS"),
    Case(
        "the last one is named by a label: it was promoted",
        snap(
            [secret("s", {"v1": "CURRENT key:K1", "v9": "key:R3"})], [CUT_OFF, *(brief(f"R{n}", M) for n in range(4))]
        ),
        actions=("revoke key-not-active s R3@v9", "rotate key-disabled s K1@v1"),  # it was given keys today already
    ),
    broken(
        "a rejection from the future does not count",
        *(-6 * M, 3 * M, 2 * M, 1 * M),
        retried=True,
    ),
    crowd("three secrets: three times the pause", 3 * HOUR - TOLD, retried=True),
    crowd("three secrets: a second before", 3 * HOUR - TOLD - SECOND, retried=False),
)

WINDOWS = (
    due("its window opens this second", 20 * DAY, window="Mon 09:00-10:00 UTC"),
    replace(
        due("its window is open for another second", 20 * DAY, window="Mon 08:59-09:00 UTC"),
        now=NOW - SECOND,
    ),
    Case(
        "its window shut this second",
        snap([secret("s", window=SHUT)], [lived(20 * DAY)]),
        skipped=("s window",),
    ),
    Case(
        "its window opens in a second",
        snap([secret("s", window="Mon 09:00-10:00 UTC")], [lived(20 * DAY)]),
        now=NOW - SECOND,
        skipped=("s window",),
    ),
    Case(
        "its window is in another zone",
        snap([secret("s", window="Mon 09:00-10:00 Europe/Zagreb")], [lived(20 * DAY)]),
        skipped=("s window",),
    ),
    Case(
        "a day would be left when the window opens: waits",
        snap([secret("s", window=SHUT)], [lived(OPENS + DAY)]),
        skipped=("s window",),
    ),
    due("less than a day would be left when it opens: an expiry that can't wait", OPENS + DAY - SECOND, window=SHUT),
    Case(
        "a short-lived key: a tenth of its life would be left: waits",
        snap([secret("s", window="Mon 14:00-15:00 UTC")], [lived(10 * HOUR, 50 * HOUR)]),
        skipped=("s window",),
    ),
    Case(
        "a short-lived key: less than a tenth of its life would be left",
        snap([secret("s", window="Mon 14:00-15:00 UTC")], [lived(10 * HOUR - SECOND, 50 * HOUR)]),
        actions=("rotate expiring s K1@v1",),
    ),
    Case(
        "without validFrom, a day is what must be left",
        snap([secret("s", window=SHUT)], [key(left=OPENS + DAY - SECOND, age=None)]),
        actions=("rotate expiring s K1@v1",),
    ),
    Case(
        "without validFrom, with a day left, it waits",
        snap([secret("s", window=SHUT)], [key(left=OPENS + DAY, age=None)]),
        skipped=("s window",),
    ),
    Case(
        "age can wait for ever where nothing ends",
        snap([secret("s", window=SHUT, max_age="30d")], [key(left=None, age=900 * DAY)]),
        skipped=("s window",),
    ),
    Case(
        "age waits as long as its end can",
        snap([secret("s", window=SHUT, max_age="30d", rotate_before="1d")], [lived(OPENS + DAY - SECOND)]),
        actions=("rotate max-age s K1@v1",),
    ),
    *(
        Case(
            f"{why}: waits for no window",
            snap([secret("s", window=SHUT, scopes="a"), OTHER], [*keys, key("O")]),
            actions=(action,),
        )
        for why, keys, action in (
            ("expired", [lived(0 * DAY)], "rotate expired s K1@v1"),
            ("disabled", [key(enabled=False)], "rotate key-disabled s K1@v1"),
            ("missing", [], "rotate key-missing s K1@v1"),
        )
    ),
    Case(
        "the first key waits for no window",
        snap([secret("s", {}, window=SHUT, scopes="a")]),
        actions=("rotate first-key s -@-",),
    ),
)


@pytest.mark.parametrize("case", [*WAITS, *REJECTIONS, *BROKEN, *WINDOWS], ids=str)
def test_waiting(case: Case) -> None:
    case.check()
