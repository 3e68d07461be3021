"""Whose key it really is, read from the true state of both sides, which the rotator never sees as a whole.

A label is a hint, so it counts for nothing here: a key belongs to a version by its name, or by the version's value.
"""

from __future__ import annotations

from collections.abc import Iterator

from rotator.policy.labels import parse_key_label, parse_key_name
from rotator.policy.values import contains
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests.world import World


def named_for(world: World, key_name: str) -> str | None:
    """The managed secret of this store, if any, whose rotation by this deployment made the key with that name."""
    name = parse_key_name(key_name)
    if name is None or name.secret_id is None or name.deployment != world.policy.deployment:
        return None
    return next((each for each in world.names() if name.is_for(each, world.store.peek(each).arn)), None)


def is_foreign(world: World, key_name: str) -> bool:
    """Whether the name is in the current form and gives another ARN or another deployment."""
    name = parse_key_name(key_name)
    return name is not None and name.secret_id is not None and named_for(world, key_name) is None


def contents(world: World, name: str) -> dict[str, Secret]:
    """What each version of a secret holds, binary values as Latin-1."""
    found = {}
    for version_id, version in world.store._records[name].versions.items():
        if version.text is not None:
            found[version_id] = version.text
        elif version.binary is not None:
            found[version_id] = Secret(version.binary.decode("latin-1"))
    return found


def current_content(world: World, name: str) -> Secret | None:
    """What stands behind ``AWSCURRENT``."""
    version_id = world.store._records[name].labels.get("AWSCURRENT", "")
    return contents(world, name).get(version_id)


def holds(content: Secret | None, key: SimKey) -> bool:
    """Whether a key's value stands anywhere in a content."""
    return content is not None and contains(content, Secret(str(key.value)))


def labelled_and_proven(world: World, name: str) -> Iterator[str]:
    """The keys that a label of a secret names truly: the version holds the value, or the key has the version's name."""
    entry, texts = world.store.peek(name), contents(world, name)
    for version_id, labels in entry.versions.items():
        for key_id in filter(None, map(parse_key_label, labels)):
            key = world.infobip.state.keys.get(key_id)
            if key is None:
                continue
            given = parse_key_name(key.name)
            by_name = given is not None and given.version_id == version_id and named_for(world, key.name) == name
            if by_name or holds(texts.get(version_id), key):
                yield key_id
