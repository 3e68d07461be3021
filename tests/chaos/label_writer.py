"""A principal that may write some secrets' values and labels, and nothing else.

It has no Infobip credentials and no right on tags. It may list and describe every secret, so it knows every key's id,
and it may read the values of the secrets that it may write. Its forgeries are put between any two calls of a run.
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
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests.chaos.ownership_truth import contents
from tests.world import DAY, World

GARBAGE = "changeme"


@dataclass(frozen=True)
class LabelWriter:
    """Writes one secret.

    :param secret: the one.
    :param victim: another one, which it can only describe.
    """

    world: World
    secret: str
    victim: str

    # ---- what it knows ----------------------------------------------------------------------------------------------

    @property
    def life(self) -> Lifecycle:
        """The labels of its secret."""
        return read_lifecycle(self.world.store.peek(self.secret))

    def values(self) -> list[str]:
        """Every value of its secret, the oldest first."""
        return [text.reveal() for text in contents(self.world, self.secret).values()]

    def previous(self) -> str | None:
        """Its version behind ``AWSPREVIOUS``."""
        return self._at(PREVIOUS)

    def _at(self, label: str) -> str | None:
        versions = self.world.store.peek(self.secret).versions
        return next((version for version, labels in versions.items() if label in labels), None)

    # ---- what it does -----------------------------------------------------------------------------------------------

    def put(self, text: str, *labels: str, version_id: str | None = None) -> str:
        """``PutSecretValue`` with labels of its choice."""
        version_id = version_id or self.world.new_id()
        with self.world.store._changing(self.secret) as record:
            record.put(version_id, Secret(text), labels, self.world.clock.now())
        return version_id

    def move(self, label: str, to: str | None) -> None:
        """``UpdateSecretVersionStage``; nothing happens where the label is already off."""
        at = self._at(label)
        if (to, at) != (None, None):
            self.world.store.label_by_hand(self.secret, label, to, at)

    def past(self, key_id: str) -> str:
        """A retire label for a key whose time is over."""
        return retire_label(key_id, self.world.clock.now() - 10 * DAY)

    def remove(self, wanted: Callable[[str], object]) -> None:
        """Take labels off."""
        for labels in self.world.store.peek(self.secret).versions.values():
            for label in sorted(labels):
                if label != CURRENT and wanted(label):
                    self.move(label, None)


Forgery = Callable[[LabelWriter], object]
About = Callable[[LabelWriter, str], object]

# ---- with the id of somebody else's key -----------------------------------------------------------------------------


def pending_text(writer: LabelWriter, key_id: str) -> None:
    writer.move(PENDING, None)
    writer.put(GARBAGE, PENDING, key_label(key_id))


def pending_copy(writer: LabelWriter, key_id: str) -> None:
    writer.move(PENDING, None)
    writer.put(writer.values()[0], PENDING, key_label(key_id))


def pending_under_its_version_id(writer: LabelWriter, key_id: str) -> None:
    """The version id that the key's name gives: only the ARN differs."""
    name = writer.world.infobip.state.keys[key_id].name if key_id in writer.world.infobip.state.keys else ""
    version_id = name.rpartition(":")[2]
    writer.move(PENDING, None)
    writer.put(GARBAGE, PENDING, key_label(key_id), version_id=version_id if len(version_id) >= 32 else None)


def current_text(writer: LabelWriter, key_id: str) -> None:
    writer.put(GARBAGE, CURRENT, key_label(key_id))


def current_copy(writer: LabelWriter, key_id: str) -> None:
    writer.put(writer.values()[-1] + " ", CURRENT, key_label(key_id))


def current_that_records_it(writer: LabelWriter, key_id: str) -> None:
    writer.put(json.dumps({"api_key": GARBAGE, "key_id": key_id}), CURRENT)


def current_that_names_it(writer: LabelWriter, key_id: str) -> None:
    """The id itself as the value."""
    writer.put(key_id, CURRENT, key_label(key_id))


def label_on_current(writer: LabelWriter, key_id: str) -> None:
    current = writer.life.current_version
    writer.remove(parse_key_label)
    writer.move(key_label(key_id), current)


def second_label_on_current(writer: LabelWriter, key_id: str) -> None:
    writer.move(key_label(key_id), writer.life.current_version)


def label_on_previous(writer: LabelWriter, key_id: str) -> None:
    previous = writer.previous()
    if previous is not None:
        writer.remove(lambda label: parse_key_label(label) or parse_retire_label(label))
        writer.move(key_label(key_id), previous)
        writer.move(writer.past(key_id), previous)


def retired_text(writer: LabelWriter, key_id: str) -> None:
    writer.put(GARBAGE, key_label(key_id), writer.past(key_id))


def retired_copy(writer: LabelWriter, key_id: str) -> None:
    writer.put(writer.values()[0], key_label(key_id), writer.past(key_id))


def superseded_text(writer: LabelWriter, key_id: str) -> None:
    writer.put(GARBAGE, key_label(key_id))


def only_a_retire_label(writer: LabelWriter, key_id: str) -> None:
    writer.put(GARBAGE, writer.past(key_id))


def retire_label_on_current(writer: LabelWriter, key_id: str) -> None:
    writer.move(writer.past(key_id), writer.life.current_version)


def retire_label_to_come(writer: LabelWriter, key_id: str) -> None:
    """As if it were in grace here for years."""
    label = retire_label(key_id, writer.world.clock.now() + 3000 * DAY)
    writer.put(GARBAGE, key_label(key_id), label)


ABOUT: tuple[About, ...] = (
    pending_text,
    pending_copy,
    pending_under_its_version_id,
    current_text,
    current_copy,
    current_that_records_it,
    current_that_names_it,
    label_on_current,
    second_label_on_current,
    label_on_previous,
    retired_text,
    retired_copy,
    superseded_text,
    only_a_retire_label,
    retire_label_on_current,
    retire_label_to_come,
)

# ---- with its own secret only ---------------------------------------------------------------------------------------


def back_to_previous(writer: LabelWriter) -> None:
    previous = writer.previous()
    if previous is not None:
        writer.move(CURRENT, previous)


def own_grace_is_over(writer: LabelWriter) -> None:
    life, previous = writer.life, writer.previous()
    for version, key_id in life.superseded:
        writer.move(writer.past(key_id), version)
    if life.current_key is not None and previous is not None:
        writer.move(writer.past(life.current_key), previous)


def no_labels(writer: LabelWriter) -> None:
    writer.remove(lambda label: parse_key_label(label) or parse_retire_label(label))


def no_retire_labels(writer: LabelWriter) -> None:
    writer.remove(parse_retire_label)


def pending_on_previous(writer: LabelWriter) -> None:
    writer.move(PENDING, writer.previous())


def pending_on_current(writer: LabelWriter) -> None:
    writer.move(PENDING, writer.life.current_version)


def empty_pending(writer: LabelWriter) -> None:
    """As another function's rotation that never goes on."""
    writer.move(PENDING, None)
    writer.world.store.start_rotation(writer.secret)


def swapped_labels(writer: LabelWriter) -> None:
    """Each key's label on the other's version."""
    life, previous = writer.life, writer.previous()
    theirs = next((key_id for key_id, version in life.holders.items() if version == previous), None)
    if life.current_key is None or theirs is None or previous is None:
        return
    mine, current = life.current_key, life.current_version
    writer.remove(parse_key_label)
    writer.move(key_label(mine), previous)
    writer.move(key_label(theirs), current)


def broken_json(writer: LabelWriter) -> None:
    writer.put('{"api_key": ', CURRENT)


def many_that_look_like_keys(writer: LabelWriter) -> None:
    """More than Infobip is asked about one by one."""
    writer.put(" ".join(f"{n:032x}-{n:08x}-{n:04x}-{n:04x}-{n:04x}-{n:012x}" for n in range(40)), CURRENT)


def oldest_value_again(writer: LabelWriter) -> None:
    writer.put(writer.values()[0] + "\n", CURRENT)


def labels_full(writer: LabelWriter) -> None:
    version = writer.life.current_version
    for number in range(20):
        with contextlib.suppress(RotatorError):
            writer.move(f"team:{number}", version)


def keys_that_do_not_exist(writer: LabelWriter) -> None:
    for number in range(15):
        with contextlib.suppress(RotatorError):
            writer.put(f"{GARBAGE} {number}", key_label(f"{number:032X}"))


ALONE: tuple[Forgery, ...] = (
    back_to_previous,
    own_grace_is_over,
    no_labels,
    no_retire_labels,
    pending_on_previous,
    pending_on_current,
    empty_pending,
    swapped_labels,
    broken_json,
    many_that_look_like_keys,
    oldest_value_again,
    labels_full,
    keys_that_do_not_exist,
)

# ---- whose key ------------------------------------------------------------------------------------------------------


def victims_current(writer: LabelWriter) -> str:
    life = read_lifecycle(writer.world.store.peek(writer.victim))
    return life.current_key or writer.world.current_key(writer.victim).id


def victims_other(writer: LabelWriter) -> str:
    """The victim's key in grace, pending or superseded, else its current one."""
    life = read_lifecycle(writer.world.store.peek(writer.victim))
    return next(iter(sorted(life.named - {life.current_key})), victims_current(writer))


def _named(writer: LabelWriter, name: str) -> SimKey:
    return next(key for key in writer.world.infobip.keys() if key.name == name)


UNMANAGED, DISABLED = "nightly report", "admin, disabled"


def unmanaged(writer: LabelWriter) -> str:
    return _named(writer, UNMANAGED).id


def disabled_admin(writer: LabelWriter) -> str:
    return _named(writer, DISABLED).id


def unknown(writer: LabelWriter) -> str:
    return "F" * 32


WHOSE: tuple[Callable[[LabelWriter], str], ...] = (victims_current, victims_other, unmanaged, disabled_admin, unknown)


def _about(about: About, whose: Callable[[LabelWriter], str]) -> Forgery:
    return lambda writer: about(writer, whose(writer))


FORGERIES: dict[str, Forgery] = {
    **{f"{about.__name__} of {whose.__name__}": _about(about, whose) for about in ABOUT for whose in WHOSE},
    **{alone.__name__: alone for alone in ALONE},
}


def forge(writer: LabelWriter, name: str) -> None:
    """One forgery; what Secrets Manager refuses is no forgery."""
    with contextlib.suppress(RotatorError):
        FORGERIES[name](writer)
