"""The readers of a secret, and those that have not read it since its key was replaced: ``rotator consumers``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.durations import plus
from rotator.engine.answers import read_log
from rotator.engine.observe import find_secret
from rotator.engine.reconcile import Reconciler
from rotator.engine.secret_changes import managed_account
from rotator.errors import RotatorError
from rotator.message import Message
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.gate import LOOK_BACK, Consumer, consumers, gap_in, promoted_at, waits_until
from rotator.policy.lifecycle import Retiring, read_lifecycle
from rotator.policy.tags import parse_spec


@dataclass(frozen=True, slots=True)
class Consumers:
    """The readers of a secret, and those that have not read it since its value was replaced.

    :param retiring: the key in its grace period that was replaced last; ``None`` if there is none.
    :param promoted: when it was replaced; ``None`` without ``retiring``.
    :param limit: the latest time to which the tag ``rotator:gate`` delays, or would delay, its revocation.
    :param known_from: reads are shown from this time on.
    :param known_until: the log is complete up to this time.
    :param gap: why a consumer may be missing, as a clause; ``None`` if none is.
    """

    account: str
    entry: SecretEntry
    spec: Spec
    retiring: Retiring | None
    promoted: datetime | None
    limit: datetime | None
    known_from: datetime
    known_until: datetime
    gap: Message | None
    found: tuple[Consumer, ...]

    @property
    def waited_for(self) -> tuple[Consumer, ...]:
        """Consumers that used the old value and have not read the new one; none if nothing was replaced."""
        return tuple(each for each in self.found if each.waited_for) if self.retiring is not None else ()


def read_consumers(reconciler: Reconciler, secret: str, look_back: timedelta = LOOK_BACK) -> Consumers:
    """Read the access log of one managed secret.

    Infobip's keys are listed too, to date the promotion more exactly; this works without them.

    :raises ReadersUnknown: the log can't be read.
    :raises RotatorError: the secret is unknown, not managed or misconfigured.
    """
    services = reconciler.services
    entry = find_secret(services.store, secret)
    account = managed_account(entry)
    spec = parse_spec(entry.tags, entry.name)
    life = read_lifecycle(entry)
    now = services.clock.now()
    keys: Mapping[str, Key] = {}
    retiring: Retiring | None = None
    promoted: datetime | None = None
    if life.retiring:
        keys = _keys(reconciler, account, entry)
        graced = [(promoted_at(item, life, keys, spec.grace), item) for item in life.retiring]
        promoted, retiring = max(graced, key=lambda pair: pair[0])
    # Without a promotion, every read up to now counts as before it.
    split = promoted or now
    reads = read_log(services, entry, plus(split, -look_back))
    return Consumers(
        account=account,
        entry=entry,
        spec=spec,
        retiring=retiring,
        promoted=promoted,
        limit=None if retiring is None else waits_until(retiring, keys.get(retiring.key_id), spec.grace),
        known_from=max(reads.since, plus(split, -look_back)),
        known_until=reads.until,
        # Without a promotion there is no time after which the log must be complete.
        gap=gap_in(reads if promoted is not None else replace(reads, until=split), split, look_back),
        found=consumers(reads, plus(split, timedelta(seconds=1)) if promoted is None else split, look_back),
    )


def _keys(reconciler: Reconciler, account: str, entry: SecretEntry) -> Mapping[str, Key]:
    """The keys that Infobip lists; none if Infobip does not respond or the secrets can't be listed."""
    try:
        snapshots, _ = reconciler.snapshots(account=account, secret=entry.arn)
    except RotatorError:
        return {}
    return snapshots[0].keys if snapshots else {}
