"""IAM policies in a form in which two that allow the same are equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.actions import ANY, BUS, QUEUE, STORE

ROLE_TAG = "secretsmanager:ResourceTag/rotator:role"


def _texts(value: str | list[str]) -> frozenset[str]:
    return frozenset([value] if isinstance(value, str) else value)


@dataclass(frozen=True)
class Statement:
    """One statement; ``conditions`` holds (test, variable, values)."""

    sid: str
    effect: str
    actions: frozenset[str]
    resources: frozenset[str]
    conditions: frozenset[tuple[str, str, frozenset[str]]]

    @property
    def roles(self) -> frozenset[str]:
        """The values of the tag ``rotator:role`` that it is narrowed to, or none."""
        found = [values for _test, variable, values in self.conditions if variable == ROLE_TAG]
        return found[0] if found else frozenset()


def statements(document: Mapping[str, Any] | str) -> frozenset[Statement]:
    """A policy document's statements, in no order."""
    policy = json.loads(document) if isinstance(document, str) else document
    assert policy["Version"] == "2012-10-17"
    found = [
        Statement(
            sid=raw.get("Sid", ""),
            effect=raw["Effect"],
            actions=_texts(raw["Action"]),
            resources=_texts(raw.get("Resource", [])),
            conditions=frozenset(
                (test, variable, _texts(values))
                for test, variables in raw.get("Condition", {}).items()
                for variable, values in variables.items()
            ),
        )
        for raw in policy["Statement"]
    ]
    assert len({one.sid for one in found}) == len(found), "statements need names of their own"
    return frozenset(found)


def allowed(policy: frozenset[Statement]) -> frozenset[tuple[str, str]]:
    """Actions and what they are allowed on, in the words of :mod:`tests.deploy.actions`."""
    pairs: set[tuple[str, str]] = set()
    for one in policy:
        assert one.effect == "Allow"
        scopes = set(one.roles) or {ANY}
        if any(":sqs:" in resource for resource in one.resources):
            scopes = {QUEUE}
        if any(":event-bus/" in resource for resource in one.resources):
            scopes = {BUS}
        if any(":role/" in resource for resource in one.resources):
            scopes = {STORE}
        pairs |= {(action, scope) for action in one.actions for scope in scopes}
    return frozenset(pairs)
