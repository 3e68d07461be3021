"""What keeps a due rotation waiting: scopes, labels, windows; over the composed chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.core.model import Key
from tests.core.build import DAY, HOUR, MINUTE, NOW, PLATFORM, SECOND, Case, key, own, secret, snap
from tests.core.test_planner import due, lived

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
        "not listed, and no tag says what it could do",
        snap([secret("s")]),
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
        Case(f"{why}: waits for no window", snap([secret("s", window=SHUT, scopes="a")], keys), actions=(action,))
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


@pytest.mark.parametrize("case", [*WAITS, *REJECTIONS, *WINDOWS], ids=str)
def test_waiting(case: Case) -> None:
    case.check()
