"""Copies made with the same token: what is said of a key must not depend on the order of the listing."""

from __future__ import annotations

from tests.policy.build import HOUR, Case, key, own, secret, snap


def test_a_key_that_lives_on_is_reported_for_the_secret_that_it_is_named_for() -> None:
    """A version id that two secrets have (a copy, made with the same token) must not make it a matter of order."""
    entries = [
        secret("s", {"v1": "CURRENT key:K1", "v8": "PREVIOUS"}),
        secret("t", {"v2": "CURRENT key:K2", "v8": "x"}),
    ]
    plans = [
        Case("", snap(order, [key(), key("K2"), key("Z", age=HOUR, name=own("t", "v8"))])).plan()
        for order in (entries, entries[::-1])
    ]
    assert [[(str(alert.kind), alert.secret) for alert in plan.alerts] for plan in plans] == [
        [("key-re-enabled", "t")]
    ] * 2
