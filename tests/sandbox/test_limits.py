from __future__ import annotations

from datetime import timedelta

import pytest

from tests.sandbox.conftest import KEYS, Site


def test_forty_creates_in_any_24_hours(site: Site) -> None:
    for _ in range(20):
        site.create()
    site.clock.advance(timedelta(hours=10))
    for _ in range(20):
        site.create()
    refused = site.call("POST", KEYS, json={"name": "one more"})
    assert (refused.status_code, refused.json()["errorCode"]) == (429, "E429")
    assert "Retry-After" not in refused.headers
    assert len(site.world.keys()) == site.world.creates_used(site.account) == 40
    site.clock.advance(timedelta(hours=14) - timedelta(seconds=1))
    assert site.call("POST", KEYS, json={"name": "one more"}).status_code == 429
    site.clock.advance(timedelta(seconds=1))
    assert site.world.creates_used(site.account) == 20
    site.create()
    assert site.world.busiest_day(site.account) == (40, 0)


def test_updates_have_their_own_limit(site: Site) -> None:
    site.world.options.daily_updates = 2
    site.world.options.retry_after = True
    made = site.create()
    for name in ("b", "c"):
        site.update(made["id"], name=name)
        site.clock.advance(timedelta(hours=1))
    refused = site.call("PUT", f"{KEYS}/{made['id']}", json={"name": "d"})
    assert refused.status_code == 429
    assert 22 * 3600 <= int(refused.headers["Retry-After"]) <= 22 * 3600 + 60
    assert site.world.updates_used(site.account) == 2
    assert site.world.busiest_day(site.account) == (1, 2)
    site.create()
    site.clock.sleep(int(refused.headers["Retry-After"]))
    site.update(made["id"], name="d")


@pytest.mark.parametrize("limit", [0, None])
def test_no_creates_at_all_or_no_limit(site: Site, limit: int | None) -> None:
    site.world.options.daily_creates = limit
    answers = {site.call("POST", KEYS, json={"name": "x"}).status_code for _ in range(45)}
    assert answers == ({200} if limit is None else {429})


def test_limit_of_account_and_user(site: Site) -> None:
    """What failed does not count; a key of a sub-account counts for the user who made it."""
    site.world.options.daily_creates = 1
    sub = site.world.add_account("sub", parent=site.account.id)
    assert site.call("POST", KEYS, json={}).status_code == 400
    site.create(accountId=sub.id)
    assert site.call("POST", KEYS, json={"name": "x"}).status_code == 429
    other = site.world.add_account("other")
    site.world.add_user(other, "else", "pw")
    answer = site.session.post(site.server.url + KEYS, json={"name": "x"}, auth=("else", "pw"), timeout=30)
    assert answer.status_code == 200
    assert [site.world.creates_used(account) for account in (site.account, sub, other)] == [1, 0, 1]


def test_date_header_follows_clock(site: Site) -> None:
    site.clock.advance(timedelta(days=100))
    assert site.call("GET", KEYS).headers["Date"] == "Thu, 10 Dec 2026 10:00:00 GMT"
