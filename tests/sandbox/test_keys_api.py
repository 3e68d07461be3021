from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from rotator.model import Platform
from rotator.sandbox.state import DEFAULT_SCOPES
from tests.sandbox.conftest import KEYS, Site, violations

VALUE = re.compile(r"[0-9a-f]{32}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_defaults_are_all_scopes_and_year(site: Site) -> None:
    made = site.create()
    assert set(made["scopeGuids"]) == DEFAULT_SCOPES
    assert made["permissions"] == ["PUBLIC_API"]
    assert (made["validFrom"], made["validTo"]) == ("2026-09-01T10:00:00", "2027-09-01T10:00:00")
    assert made["enabled"] is True
    assert made["accountId"] == site.account.id
    assert VALUE.fullmatch(made["apiKeySecret"])


def test_key_is_what_was_asked_for(site: Site) -> None:
    asked = {
        "name": "prod/sms/otp/rotator:default:1",
        "allowedIPs": ["10.0.0.0/8", "192.0.2.1"],
        "validFrom": "2026-09-02T00:00:00",
        "validTo": "2026-12-01T00:00:00",
        "permissions": ["2FA_CLIENT", "PUBLIC_API"],
        "scopeGuids": ["sms:manage"],
    }
    made = site.create(**asked)
    assert {name: value for name, value in made.items() if name in asked} == asked
    assert site.call("GET", f"{KEYS}/{made['id']}").json() == made
    assert set(site.create(scopeGuids=[])["scopeGuids"]) == DEFAULT_SCOPES  # an empty list is all of them


def test_mask_is_no_value(site: Site) -> None:
    site.world.options.reveal = False
    made = site.create()
    assert VALUE.fullmatch(made["apiKeySecret"])
    read = site.call("GET", f"{KEYS}/{made['id']}").json()["apiKeySecret"]
    listed = site.call("GET", KEYS).json()["apiKeys"][0]["apiKeySecret"]
    assert read == listed == "********" + made["apiKeySecret"][-4:]


def test_what_update_leaves_out_stays(site: Site) -> None:
    made = site.create(scopeGuids=["sms:manage"], allowedIPs=["192.0.2.1"], permissions=["WEB_SDK"])
    changed = site.update(made["id"], enabled=False)
    assert changed == {**made, "enabled": False}
    site.world.observers.clear()  # null is not described, yet many servers take it for left out
    assert site.update(made["id"], name="other", scopeGuids=None) == {**changed, "name": "other"}


def test_empty_list_in_update_clears(site: Site) -> None:
    made = site.create(scopeGuids=["sms:manage"], allowedIPs=["192.0.2.1"], permissions=["2FA_CLIENT"])
    changed = site.update(made["id"], scopeGuids=[], permissions=[], allowedIPs=[])
    assert (changed["scopeGuids"], changed["permissions"], changed["allowedIPs"]) == ([], ["PUBLIC_API"], [])


def test_links_take_place_of_scopes(site: Site) -> None:
    made = site.create(platform=[{"applicationId": "shop", "entityId": "eu", "action": "FILL"}, {"applicationId": "x"}])
    assert "scopeGuids" not in made
    assert "permissions" not in made
    assert [{n: v for n, v in link.items() if n != "key"} for link in made["platform"]] == [
        {"applicationId": "shop", "entityId": "eu", "action": "FILL"},
        {"applicationId": "x"},
    ]
    assert site.world.key(made["id"]).platform == (Platform("shop", "eu", "FILL"), Platform("x"))
    refused = site.call("PUT", f"{KEYS}/{made['id']}", json={"scopeGuids": ["sms:manage"]})
    assert list(violations(refused)) == ["platform"]
    assert site.update(made["id"], enabled=False)["platform"] == made["platform"]
    cleared = site.update(made["id"], platform=[])
    assert "platform" not in cleared
    assert (cleared["permissions"], cleared["scopeGuids"]) == (["PUBLIC_API"], [])
    linked = site.update(made["id"], platform=[{"applicationId": "shop"}])
    assert "scopeGuids" not in linked


BAD_BODIES: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"name": "x" * 256}, "name"),
    ({"permissions": ["ALL"]}, "permissions"),
    ({"permissions": "PUBLIC_API"}, "permissions"),
    ({"permissions": ["PUBLIC_API", "WEB_SDK"]}, "permissions"),
    ({"scopeGuids": ["sms:manage", "sms:manage"]}, "scopeGuids"),
    ({"scopeGuids": [1]}, "scopeGuids"),
    ({"scopeGuids": "sms:manage"}, "scopeGuids"),
    ({"platform": [{"applicationId": "x"}], "scopeGuids": ["sms:manage"]}, "platform"),
    ({"platform": [{"applicationId": "x"}], "permissions": ["PUBLIC_API"]}, "platform"),
    ({"platform": [{"entityId": "x"}]}, "platform[0].applicationId"),
    ({"platform": [{"applicationId": "x", "action": "ASK"}]}, "platform[0].action"),
    ({"platform": ["x"]}, "platform"),
    ({"allowedIPs": ["home"]}, "allowedIPs"),
    ({"allowedIPs": ["192.0.2.9-192.0.2.1"]}, "allowedIPs"),
    ({"validTo": "2026-08-31T10:00:00"}, "validTo"),
    ({"validFrom": "2026-08-31T10:00:00"}, "validFrom"),
    ({"validFrom": "2026-09-09T10:00:00", "validTo": "2026-09-08T10:00:00"}, "validTo"),
    ({"validTo": "2026-12-01T10:00:00Z"}, "validTo"),
    ({"validTo": "2026-12-01T10:00:00+00:00"}, "validTo"),
    ({"validTo": "2026-12-01"}, "validTo"),
    ({"validTo": "2026-13-01T10:00:00"}, "validTo"),
    ({"validTo": 1796119200}, "validTo"),
]


@pytest.mark.parametrize(("fields", "wrong"), BAD_BODIES, ids=[f"{w}-{i}" for i, (_, w) in enumerate(BAD_BODIES)])
def test_bad_create_makes_nothing(site: Site, fields: dict[str, Any], wrong: str) -> None:
    answer = site.call("POST", KEYS, json={"name": "a key", **fields})
    assert wrong in violations(answer)
    assert site.world.keys(site.account) == ()
    assert site.world.creates_used(site.account) == 0


@pytest.mark.parametrize("fields", [{"enabled": "no"}, {"validTo": "2026-08-01T00:00:00"}, {"name": " "}])
def test_bad_update_changes_nothing(site: Site, fields: dict[str, Any]) -> None:
    made = site.create()
    assert list(violations(site.call("PUT", f"{KEYS}/{made['id']}", json=fields))) == list(fields)
    assert site.call("GET", f"{KEYS}/{made['id']}").json() == made
    assert site.world.updates_used(site.account) == 0


def test_every_violation_is_said_at_once(site: Site) -> None:
    answer = site.call("POST", KEYS, json={"scopeGuids": 1, "allowedIPs": ["?"]})
    assert set(violations(answer)) == {"name", "scopeGuids", "allowedIPs"}


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"name": "x"}', "text/plain", 415),
    ],
)
def test_what_is_no_json_object_is_refused(site: Site, body: bytes, media: str, status: int) -> None:
    answer = site.call("POST", KEYS, data=body, headers={"Content-Type": media})
    assert answer.status_code == status
    assert site.world.keys() == ()


def test_end_in_past(site: Site) -> None:
    first, second = site.create(), site.create()
    site.clock.advance(timedelta(days=10))
    end = "2026-09-11T09:00:00"
    assert site.update(first["id"], enabled=False, validTo=end)["validTo"] == end
    site.world.options.refuse_past_end = True
    answer = site.call("PUT", f"{KEYS}/{second['id']}", json={"enabled": False, "validTo": end})
    assert list(violations(answer)) == ["validTo"]
    assert site.world.key(second["id"]).enabled


def test_pages_hold_each_key_once_in_order(site: Site) -> None:
    none = site.call("GET", KEYS).json()
    assert (none["apiKeys"], none["paging"]["totalCount"], none["paging"]["totalPages"]) == ([], 0, 0)
    for number in range(25):
        site.world.add_key(site.account, f"key {number:02}")
    pages = [site.call("GET", KEYS, params={"page": str(p), "size": "10"}).json() for p in range(4)]
    assert [len(page["apiKeys"]) for page in pages] == [10, 10, 5, 0]
    ids = [key["id"] for page in pages for key in page["apiKeys"]]
    assert ids == sorted(key.id for key in site.world.keys(site.account))
    assert pages[1]["paging"] == {
        "page": 1,
        "pageSize": 10,
        "orderDirection": "asc",
        "totalCount": 25,
        "totalPages": 3,
    }
    down = site.call("GET", KEYS, params={"orderBy": "name", "orderDirection": "DESC", "size": "3"}).json()
    assert [key["name"] for key in down["apiKeys"]] == ["key 24", "key 23", "key 22"]
    assert down["paging"]["orderBy"] == "name"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "101"),
        ("page", "-1"),
        ("page", "x"),
        ("size", "0"),
        ("size", "101"),
        ("size", "9" * 5000),
        ("enabled", "maybe"),
        ("orderBy", "luck"),
        ("orderDirection", "up"),
    ],
)
def test_bad_parameter_is_refused(site: Site, name: str, value: str) -> None:
    assert list(violations(site.call("GET", KEYS, params={name: value}))) == [name]


def test_filters(site: Site) -> None:
    one = site.world.add_key(site.account, "prod/sms")
    two = site.world.add_key(site.account, "prod/sms/otp", enabled=False)

    def found(**params: str) -> list[str]:
        return sorted(key["id"] for key in site.call("GET", KEYS, params=params).json()["apiKeys"])

    assert found(name="prod/sms") == [one.id]
    assert found(enabled="false") == [two.id]
    assert found(apiKeySecret=two.value) == [two.id]
    assert found(apiKeySecret=two.value[:-1]) == []
    assert found(apiKeySecret=two.value, enabled="true") == []
    site.world.options.name_contains = True
    assert found(name="PROD/sms") == sorted([one.id, two.id])


def test_main_account_manages_its_subs_only(site: Site) -> None:
    sub = site.world.add_account("sub", parent=site.account.id)
    other = site.world.add_account("other")
    foreign = site.world.add_key(other, "foreign")
    made = site.create(accountId=sub.id)
    assert site.world.key(made["id"]).account_id == sub.id
    assert site.call("GET", KEYS).json()["apiKeys"] == []
    assert [key["id"] for key in site.call("GET", KEYS, params={"accountId": sub.id}).json()["apiKeys"]] == [made["id"]]
    assert site.update(made["id"], accountId=sub.id, enabled=False)["enabled"] is False
    assert site.call("GET", KEYS, params={"accountId": other.id}).status_code == 403
    assert site.call("POST", KEYS, json={"name": "x", "accountId": other.id}).status_code == 403
    assert site.call("GET", f"{KEYS}/{foreign.id}").status_code == 404
    assert site.call("PUT", f"{KEYS}/{foreign.id}", json={"enabled": False}).status_code == 404
    assert site.call("PUT", f"{KEYS}/{made['id']}", json={"accountId": site.account.id}).status_code == 404
    linked = site.call("POST", KEYS, json={"name": "x", "accountId": sub.id, "platform": [{"applicationId": "x"}]})
    assert list(violations(linked)) == ["platform"]


def test_update_without_account_of_sub_key(site: Site) -> None:
    sub = site.world.add_account("sub", parent=site.account.id)
    key = site.world.add_key(sub)
    assert site.update(key.id, accountId=sub.id, enabled=False)["accountId"] == sub.id
    site.world.options.refuse_missing_account = True
    assert list(violations(site.call("PUT", f"{KEYS}/{key.id}", json={"enabled": True}))) == ["accountId"]
    site.world.options.refuse_missing_account = False
    assert site.update(key.id, enabled=True)["accountId"] == site.account.id
    assert [each.id for each in site.world.keys(site.account)] == [key.id]
    assert site.world.keys(sub) == ()
    site.world.options.refuse_account = 409
    assert site.call("PUT", f"{KEYS}/{key.id}", json={"accountId": site.account.id}).status_code == 409


def test_main_list_may_include_sub_keys(site: Site) -> None:
    site.world.options.list_sub_accounts = True
    sub, other = site.world.add_account("sub", parent=site.account.id), site.world.add_account("other")
    own, below, _ = (site.world.add_key(account) for account in (site.account, sub, other))
    listed = site.call("GET", KEYS).json()["apiKeys"]
    assert {key["id"]: key["accountId"] for key in listed} == {own.id: site.account.id, below.id: sub.id}
    own_alone = site.call("GET", KEYS, params={"accountId": site.account.id}).json()["apiKeys"]
    assert [key["id"] for key in own_alone] == [own.id]


def test_new_key_may_show_late_in_listings(site: Site) -> None:
    site.world.options.listing_delay = timedelta(seconds=30)
    made = site.create()
    assert site.call("GET", KEYS, params={"name": "a key"}).json()["apiKeys"] == []
    assert site.call("GET", f"{KEYS}/{made['id']}").status_code == 200
    site.clock.sleep(30)
    assert [key["id"] for key in site.call("GET", KEYS).json()["apiKeys"]] == [made["id"]]


def test_unknown_key_path_and_method(site: Site) -> None:
    assert site.call("GET", f"{KEYS}/nothing").status_code == 404
    assert site.call("DELETE", f"{KEYS}/nothing").status_code == 405
    for method in ("PATCH", "OPTIONS", "QUERY", "TRACE"):
        assert site.call(method, KEYS).status_code == 405
    assert site.call("GET", "/nothing").status_code == 404
