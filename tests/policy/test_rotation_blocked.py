"""What keeps a due rotation waiting: scopes, labels, windows; over the composed chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.policy.emergency_ids import emergency_version_id
from rotator.policy.labels import key_name
from tests.policy.build import DAY, HOUR, SECOND, Case, arn_of, key, own, secret, snap
from tests.policy.tables import table

WAITS = table("""
    the old key has no scopes: they are not guessed
        s; K1 left=1d age=99d scopes=none -> skip s scopes-unknown; error scopes-unknown s K1
    the old key shows no scopes, the tag does
        s scopes=sms:manage; K1 left=1d age=99d scopes=hidden -> rotate expiring s K1@v1
    linked to platforms, which need no scopes
        s; K1 left=1d age=99d platform scopes=hidden -> rotate expiring s K1@v1
    linked to platforms, which exclude the tagged scopes
        s scopes=sms:manage; K1 left=1d age=99d platform scopes=hidden -> skip s misconfigured; error misconfigured s K1
    18 labels after it: goes
        s {v9 CURRENT PENDING key:K1} {v8 PREVIOUS a b c d e f g h i j k l}; K1 left=1d age=99d
        -> rotate expiring s K1@v9
    19 labels after it: waits
        s {v9 CURRENT PENDING key:K1} {v8 PREVIOUS a b c d e f g h i j k l m}; K1 left=1d age=99d
        -> skip s label-limit; error label-limit s K1 (`aws secretsmanager update-secret-version-stage`)
    20 labels after it, and consumers have no working key: goes
        s {v9 CURRENT PENDING key:K1} {v8 PREVIOUS a b c d e f g h i j k l m n}; K1 disabled
        -> rotate key-disabled s K1@v9
    21 labels after it: AWS allows no more, whatever is broken
        s {v9 CURRENT PENDING key:K1} {v8 PREVIOUS a b c d e f g h i j k l m n o}; K1 disabled
        -> skip s label-limit; error label-limit s K1
    labels that the rotation itself moves are not counted twice, those that it brings are
        s {v9 CURRENT key:K1} {v8 a b c d e f g h i j k l}; K1 left=1d age=99d -> rotate expiring s K1@v9
    one more label beside those that it brings
        s {v9 CURRENT key:K1} {v8 a b c d e f g h i j k l m}; K1 left=1d age=99d
        -> skip s label-limit; error label-limit s K1
    an unlabelled value: 18 labels after adoption and rotation
        s {v9 CURRENT value=K1} {v8 PREVIOUS a b c d e f g h i j k l}; K1 left=1d age=99d
        -> label unadopted s K1@v9; rotate expiring s K1@v9
    an unlabelled value: 19 labels after adoption and rotation
        s {v9 CURRENT value=K1} {v8 PREVIOUS a b c d e f g h i j k l m}; K1 left=1d age=99d
        -> label unadopted s K1@v9; skip s label-limit; error label-limit s K1
    labels that the same sweep puts on count too
        s {v9 CURRENT PENDING key:K1} {v8 PREVIOUS key:O8} {v7 key:O7} {v6 key:O6} {v1 a b c d e f g};
        K1 left=1d age=99d; O6; O7; O8
        -> retire superseded s O6@v6; retire superseded s O7@v7; retire superseded s O8@v8; skip s label-limit;
        error label-limit s K1
""")

REJECTED = table("""
    three replacements were rejected today: once more
        s; K1 left=10d age=90d; 3 x R# disabled age=23h59m59s left=-23h54m59s for=s@r# -> rotate expiring s K1@v1
    four replacements were rejected today, to the second: that is enough
        s; K1 left=10d age=90d; 4 x R# disabled age=23h59m59s left=-23h54m59s for=s@r#
        -> skip s daily-limit; error daily-limit s K1
    none of these is a fourth: a day ago, that lived longer, that was enabled again, without a beginning or an end
        s; K1 left=10d age=90d; 3 x R# disabled age=23h59m59s left=-23h54m59s for=s@r#;
        A disabled age=1d left=-23h59m for=s@a; B disabled age=23h59m59s left=-23h54m58s for=s@b;
        C age=23h59m59s left=-23h54m59s for=s@c; D disabled age=unknown left=-23h for=s@d;
        E disabled age=23h59m59s left=never for=s@e
        -> rotate expiring s K1@v1
    nor one of another deployment, of another secret or made by hand
        s; K1 left=10d age=90d; 3 x R# disabled age=23h59m59s left=-23h54m59s for=s@r#;
        A disabled age=23h left=-22h59m for=s@a@blue; B disabled age=23h left=-22h59m for=t@b;
        C disabled age=23h left=-22h59m
        -> rotate expiring s K1@v1
    rejected ones are no reason not to go on with what is made
        s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1; K2; 8 x R# disabled age=23h59m59s left=-23h54m59s for=s@r#
        -> resume pending s K2@v2
    no working key, three rejections: once more
        s scopes=a; K1 disabled; 3 x R# disabled age=2m left=-1m for=s@r# -> rotate key-disabled s K1@v1
    four rejections, the last a minute ago: a pause
        s scopes=a; K1 disabled; 4 x R# disabled age=1m left=0s for=s@r# -> skip s daily-limit; error daily-limit s K1
    four rejections, the last an hour ago (or five minutes less, for a sweep that comes early): again
        s scopes=a; K1 disabled; 3 x R# disabled age=9h left=-8h59m for=s@r#; Q disabled age=55m left=-54m for=s@q
        -> rotate key-disabled s K1@v1
    four rejections: a second before
        s scopes=a; K1 disabled; 3 x R# disabled age=9h left=-8h59m for=s@r#; Q disabled age=54m59s left=-53m59s for=s@q
        -> skip s daily-limit; error daily-limit s K1
    five rejections: two hours
        s scopes=a; K1 disabled; 4 x R# disabled age=9h left=-8h59m for=s@r#; Q disabled age=1h55m left=-1h54m for=s@q
        -> rotate key-disabled s K1@v1
    five rejections: a second before
        s scopes=a; K1 disabled; 4 x R# disabled age=9h left=-8h59m for=s@r#;
        Q disabled age=1h54m59s left=-1h53m59s for=s@q
        -> skip s daily-limit; error daily-limit s K1
    six rejections: four hours
        s scopes=a; K1 disabled; 5 x R# disabled age=9h left=-8h59m for=s@r#; Q disabled age=3h55m left=-3h54m for=s@q
        -> rotate key-disabled s K1@v1
    six rejections: a second before
        s scopes=a; K1 disabled; 5 x R# disabled age=9h left=-8h59m for=s@r#;
        Q disabled age=3h54m59s left=-3h53m59s for=s@q
        -> skip s daily-limit; error daily-limit s K1
    ever so many: four hours all the same
        s scopes=a; K1 disabled; 30 x R# disabled age=9h left=-8h59m for=s@r#; Q disabled age=3h55m left=-3h54m for=s@q
        -> rotate key-disabled s K1@v1
    three secrets: three times the pause
        3 x s# scopes=a {v1 CURRENT key:K#}; 3 x K# disabled; 3 x A# disabled age=2h55m left=-2h54m for=s#@a;
        3 x B# disabled age=2h55m left=-2h54m for=s#@b; 3 x C# disabled age=2h55m left=-2h54m for=s#@c;
        3 x D# disabled age=2h55m left=-2h54m for=s#@d
        -> 3 x rotate key-disabled s# K#@v1
    three secrets: a second before
        3 x s# scopes=a {v1 CURRENT key:K#}; 3 x K# disabled; 3 x A# disabled age=2h54m59s left=-2h54m for=s#@a;
        3 x B# disabled age=2h54m59s left=-2h54m for=s#@b; 3 x C# disabled age=2h54m59s left=-2h54m for=s#@c;
        3 x D# disabled age=2h54m59s left=-2h54m for=s#@d
        -> 3 x skip s# daily-limit; 3 x error daily-limit s# K#
    expired: as if it were disabled
        s scopes=a; K1 left=-1d age=101d; 4 x R# disabled age=1h left=-59m for=s@r# -> rotate expired s K1@v1
    a day left: it can't wait for a day either
        s scopes=a; K1 left=1d age=99d; 4 x R# disabled age=1h left=-59m for=s@r# -> rotate expiring s K1@v1
    a second more left: it waits until they are older
        s scopes=a; K1 left=1d1s age=99d; 4 x R# disabled age=1h left=-59m for=s@r#
        -> skip s daily-limit; error daily-limit s K1
    made before the current key: a success came after them
        s scopes=a; K1 disabled age=5m left=-4m; 4 x R# disabled age=6m left=-5m for=s@r# -> rotate key-disabled s K1@v1
    made within five minutes of the current key: they lost a race to it
        s scopes=a; K1 disabled age=11m left=-10m; 4 x R# disabled age=6m left=-5m for=s@r#
        -> rotate key-disabled s K1@v1
    made a second later than that: rejected
        s scopes=a; K1 disabled age=11m left=-10m; 4 x R# disabled age=5m59s left=-5m for=s@r#
        -> skip s daily-limit; error daily-limit s K1
    a current key from the future proves nothing
        s scopes=a; K1 disabled age=-1d left=2d; 4 x R# disabled age=1m left=0s for=s@r#
        -> skip s daily-limit; error daily-limit s K1
    one is the previous version: it was current once
        s scopes=a {v1 CURRENT key:K1} {r3 PREVIOUS}; K1 disabled; 4 x R# disabled age=1m left=0s for=s@r#
        -> rotate key-disabled s K1@v1
    one is named by a label: it was promoted; and the secret was given keys today already
        s {v1 CURRENT key:K1} {v9 key:R3}; K1 disabled; 4 x R# disabled age=1m left=0s for=s@r#
        -> revoke key-not-active s R3@v9; rotate key-disabled s K1@v1
    a rejection from the future does not count
        s scopes=a; K1 disabled; 3 x R# disabled age=1m left=0s for=s@r#; Q disabled age=-6m left=7m for=s@q
        -> rotate key-disabled s K1@v1
""")

WINDOWS = table("""
    its window opens this second
        s window="Mon 09:00-10:00 UTC"; K1 left=20d age=80d -> rotate expiring s K1@v1
    its window shut this second
        s window="Mon 08:00-09:00 UTC"; K1 left=20d age=80d -> skip s window
    a day would be left when the window opens: waits
        s window="Mon 08:00-09:00 UTC"; K1 left=7d23h age=92d1h -> skip s window
    less than a day would be left when it opens: an expiry that can't wait
        s window="Mon 08:00-09:00 UTC"; K1 left=7d22h59m59s age=92d1h1s -> rotate expiring s K1@v1
    a short-lived key: a tenth of its life would be left: waits
        s window="Mon 14:00-15:00 UTC"; K1 left=10h age=1d16h -> skip s window
    a short-lived key: less than a tenth of its life would be left
        s window="Mon 14:00-15:00 UTC"; K1 left=9h59m59s age=1d16h1s -> rotate expiring s K1@v1
    without validFrom, a day is what must be left
        s window="Mon 08:00-09:00 UTC"; K1 left=7d22h59m59s age=unknown -> rotate expiring s K1@v1
    without validFrom, with a day left, it waits
        s window="Mon 08:00-09:00 UTC"; K1 left=7d23h age=unknown -> skip s window
    age can wait for ever where nothing ends
        s window="Mon 08:00-09:00 UTC" max-age=30d; K1 left=never age=900d -> skip s window
    age waits as long as its end can
        s window="Mon 08:00-09:00 UTC" max-age=30d rotate-before=1d; K1 left=7d22h59m59s age=92d1h1s
        -> rotate max-age s K1@v1
    disabled: waits for no window
        s window="Mon 08:00-09:00 UTC" scopes=a; other {v1 CURRENT key:O}; K1 disabled; O -> rotate key-disabled s K1@v1
    the first key waits for no window
        s window="Mon 08:00-09:00 UTC" scopes=a {} -> rotate first-key s -@-
""")


@pytest.mark.parametrize("case", [*WAITS, *REJECTED, *WINDOWS], ids=str)
def test_waiting(case: Case) -> None:
    case.check()


def test_key_of_emergency_is_no_rejection() -> None:
    by_sweeps = [own("s", f"r{number}") for number in range(3)]
    by_emergency = key_name("s", arn_of("s"), "default", emergency_version_id(arn_of("s"), None, "seed"))
    ended = [
        key(name[-40:], age=23 * HOUR, left=SECOND - 23 * HOUR, enabled=False, name=name)
        for name in (*by_sweeps, by_emergency)
    ]
    current = key(left=10 * DAY, age=90 * DAY)
    Case("", snap([secret("s")], [current, *ended]), "rotate expiring s K1@v1").check()
    fourth = replace(ended[3], name=own("s", "r3"))
    plan = Case("", snap([secret("s")], [current, *ended[:3], fourth])).plan()
    assert plan.actions == ()
