"""A principal that may write some secrets' values and labels, and nothing else.

It has no Infobip credentials and no right on tags. It may list and describe every secret, so it knows every key's id,
and it may read the values of the secrets that it may write. Its forgeries happen between any two calls of a run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from rotator.errors import RotatorError
from rotator.policy.labels import (
    CURRENT,
    PENDING,
    PREVIOUS,
    key_label,
    parse_key_label,
    parse_retire_label,
    retire_label,
)
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.secret import Secret
from tests.chaos.truth import contents
from tests.world import DAY, World

GARBAGE = "changeme"


@dataclass(frozen=True)
class LabelWriter:
    """Writes ``secret``; ``victim`` is another one, which it can only describe."""

    world: World
    secret: str
    victim: str

    @property
    def life(self) -> Lifecycle:
        return read_lifecycle(self.world.store.peek(self.secret))

    def values(self) -> list[str]:
        """Every value of its secret, the oldest first."""
        return [text.reveal() for text in contents(self.world, self.secret).values()]

    def at(self, label: str) -> str | None:
        """Its version with a label."""
        versions = self.world.store.peek(self.secret).versions
        return next((version for version, labels in versions.items() if label in labels), None)

    def put(self, text: str, *labels: str, version_id: str | None = None) -> str:
        """``PutSecretValue`` with labels of its choice."""
        version_id = version_id or self.world.new_id()
        with self.world.store._changing(self.secret) as record:
            record.put(version_id, Secret(text), labels, self.world.clock.now())
        return version_id

    def put_pending(self, text: str, key_id: str, version_id: str | None = None) -> None:
        """Another pending version, with a label for a key."""
        self.move(PENDING, None)
        self.put(text, PENDING, key_label(key_id), version_id=version_id)

    def move(self, label: str, to: str | None) -> None:
        """``UpdateSecretVersionStage``; nothing happens where the label is already off."""
        at = self.at(label)
        if (to, at) != (None, None):
            self.world.store.label_by_hand(self.secret, label, to, at)

    def past(self, key_id: str) -> str:
        """A retire label for a key whose grace period is over."""
        return retire_label(key_id, self.world.clock.now() - 10 * DAY)

    def remove(self, wanted: Callable[[str], object]) -> None:
        for labels in self.world.store.peek(self.secret).versions.values():
            for label in sorted(labels):
                if label != CURRENT and wanted(label):
                    self.move(label, None)


Forgery = Callable[[LabelWriter], object]
About = Callable[[LabelWriter, str], object]


def is_ours(label: str) -> object:
    return parse_key_label(label) or parse_retire_label(label)


# ---- with the id of another secret's key ----------------------------------------------------------------------------


def pending_under_its_version_id(writer: LabelWriter, key_id: str) -> None:
    """The version id that the key's name gives: only the ARN differs."""
    key = writer.world.infobip.state.keys.get(key_id)
    version_id = key.name.rpartition(":")[2] if key else ""
    writer.put_pending(GARBAGE, key_id, version_id if len(version_id) >= 32 else None)


def label_on_current(writer: LabelWriter, key_id: str) -> None:
    current = writer.life.current_version
    writer.remove(parse_key_label)
    writer.move(key_label(key_id), current)


def label_on_previous(writer: LabelWriter, key_id: str) -> None:
    previous = writer.at(PREVIOUS)
    if previous is not None:
        writer.remove(is_ours)
        writer.move(key_label(key_id), previous)
        writer.move(writer.past(key_id), previous)


def retire_label_to_come(writer: LabelWriter, key_id: str) -> None:
    """As if it were in grace here for years."""
    label = retire_label(key_id, writer.world.clock.now() + 3000 * DAY)
    writer.put(GARBAGE, key_label(key_id), label)


ABOUT: dict[str, About] = {
    "pending_text": lambda w, key: w.put_pending(GARBAGE, key),
    "pending_copy": lambda w, key: w.put_pending(w.values()[0], key),
    "pending_under_its_version_id": pending_under_its_version_id,
    "current_text": lambda w, key: w.put(GARBAGE, CURRENT, key_label(key)),
    "current_copy": lambda w, key: w.put(w.values()[-1] + " ", CURRENT, key_label(key)),
    "current_that_records_it": lambda w, key: w.put(json.dumps({"api_key": GARBAGE, "key_id": key}), CURRENT),
    "current_that_names_it": lambda w, key: w.put(key, CURRENT, key_label(key)),  # the id itself as the value
    "label_on_current": label_on_current,
    "second_label_on_current": lambda w, key: w.move(key_label(key), w.life.current_version),
    "label_on_previous": label_on_previous,
    "retired_text": lambda w, key: w.put(GARBAGE, key_label(key), w.past(key)),
    "retired_copy": lambda w, key: w.put(w.values()[0], key_label(key), w.past(key)),
    "superseded_text": lambda w, key: w.put(GARBAGE, key_label(key)),
    "only_a_retire_label": lambda w, key: w.put(GARBAGE, w.past(key)),
    "retire_label_on_current": lambda w, key: w.move(w.past(key), w.life.current_version),
    "retire_label_to_come": retire_label_to_come,
}

# ---- with its own secret only ---------------------------------------------------------------------------------------


def back_to_previous(writer: LabelWriter) -> None:
    previous = writer.at(PREVIOUS)
    if previous is not None:
        writer.move(CURRENT, previous)


def own_grace_is_over(writer: LabelWriter) -> None:
    life, previous = writer.life, writer.at(PREVIOUS)
    for version, key_id in life.superseded:
        writer.move(writer.past(key_id), version)
    if life.current_key is not None and previous is not None:
        writer.move(writer.past(life.current_key), previous)


def empty_pending(writer: LabelWriter) -> None:
    """As another function's rotation that never goes on."""
    writer.move(PENDING, None)
    writer.world.store.start_rotation(writer.secret)


def swapped_labels(writer: LabelWriter) -> None:
    """Each key's label on the other's version."""
    life, previous = writer.life, writer.at(PREVIOUS)
    theirs = next((key_id for key_id, version in life.holders.items() if version == previous), None)
    if life.current_key is None or theirs is None or previous is None:
        return
    mine, current = life.current_key, life.current_version
    writer.remove(parse_key_label)
    writer.move(key_label(mine), previous)
    writer.move(key_label(theirs), current)


def many_that_look_like_keys(writer: LabelWriter) -> None:
    """More than Infobip is asked about one by one."""
    writer.put(" ".join(f"{n:032x}-{n:08x}-{n:04x}-{n:04x}-{n:04x}-{n:012x}" for n in range(40)), CURRENT)


def labels_full(writer: LabelWriter) -> None:
    version = writer.life.current_version
    for number in range(20):
        with contextlib.suppress(RotatorError):
            writer.move(f"team:{number}", version)


def keys_that_do_not_exist(writer: LabelWriter) -> None:
    for number in range(15):
        with contextlib.suppress(RotatorError):
            writer.put(f"{GARBAGE} {number}", key_label(f"{number:032X}"))


OWN: dict[str, Forgery] = {
    "back_to_previous": back_to_previous,
    "own_grace_is_over": own_grace_is_over,
    "no_labels": lambda w: w.remove(is_ours),
    "no_retire_labels": lambda w: w.remove(parse_retire_label),
    "pending_on_previous": lambda w: w.move(PENDING, w.at(PREVIOUS)),
    "pending_on_current": lambda w: w.move(PENDING, w.life.current_version),
    "empty_pending": empty_pending,
    "swapped_labels": swapped_labels,
    "broken_json": lambda w: w.put('{"api_key": ', CURRENT),
    "many_that_look_like_keys": many_that_look_like_keys,
    "oldest_value_again": lambda w: w.put(w.values()[0] + "\n", CURRENT),
    "labels_full": labels_full,
    "keys_that_do_not_exist": keys_that_do_not_exist,
}

# ---- whose key ------------------------------------------------------------------------------------------------------

UNMANAGED, DISABLED = "nightly report", "admin, disabled"


def victims_current(writer: LabelWriter) -> str:
    life = read_lifecycle(writer.world.store.peek(writer.victim))
    return life.current_key or writer.world.current_key(writer.victim).id


def victims_other(writer: LabelWriter) -> str:
    """The victim's key in grace, pending or superseded, else its current one."""
    life = read_lifecycle(writer.world.store.peek(writer.victim))
    return next(iter(sorted(life.named - {life.current_key})), victims_current(writer))


def named(name: str) -> Callable[[LabelWriter], str]:
    return lambda writer: next(key.id for key in writer.world.infobip.keys() if key.name == name)


WHOSE: dict[str, Callable[[LabelWriter], str]] = {
    "victims_current": victims_current,
    "victims_other": victims_other,
    "unmanaged": named(UNMANAGED),
    "disabled_admin": named(DISABLED),
    "unknown": lambda _: "F" * 32,
}


def _about(about: About, whose: Callable[[LabelWriter], str]) -> Forgery:
    return lambda writer: about(writer, whose(writer))


FORGERIES: dict[str, Forgery] = {
    **{f"{what} of {whose}": _about(about, key) for what, about in ABOUT.items() for whose, key in WHOSE.items()},
    **OWN,
}


def forge(writer: LabelWriter, name: str) -> None:
    """One forgery; one that Secrets Manager refuses changes nothing."""
    with contextlib.suppress(RotatorError):
        FORGERIES[name](writer)
