"""Take up a value that another process or a person stored, as soon as Secrets Manager says that ``AWSCURRENT`` moved.

An event is only a hint at a secret: the labels decide, and the rest is what a sweep would do an hour later
with this one secret, with the sweep's rules. Its key is identified, labelled and used once, and what is wrong is an
alert. No key is created, changed or revoked, and what is due is left to sweeps, so a lost event changes nothing.

==========================  ===========================================================================
:func:`stored_by_others`    one ``DescribeSecret``; most events end here
:func:`take_up`             the management secrets, the value, a search for its key, a label, a probe
==========================  ===========================================================================
"""

from __future__ import annotations

from dataclasses import replace

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget
from rotator.engine.observe import observe_fleet
from rotator.engine.probing import PROPAGATION
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import Sweep
from rotator.engine.version_values import key_in, read_value, resolve_value
from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.plan import AccountPlan, Alert, Plan, Result, Severity
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import plan_new_value
from rotator.policy.tags import account_of, parse_spec, role
from rotator.ports import KeyProvider, ProbeVerdict, SecretStore
from rotator.reasons import Reason
from rotator.secret import Secret


def stored_by_others(store: SecretStore, arn: str, version_id: str | None = None) -> SecretEntry | None:
    """Describe a secret; ``None`` unless it is managed and its current value was not stored by the rotator.

    :param version_id: the version that an event names: if another one is current, the event is late.
    :raises StoreError: it can't be described, or does not exist.
    """
    entry = store.describe(arn)
    life = read_lifecycle(entry)
    if role(entry.tags) != "key" or not account_of(entry.tags) or entry.deleted_at is not None:
        return None
    if life.current_version is None or life.current_key is not None:
        return None
    return entry if version_id in (None, life.current_version) else None


def take_up(reconciler: Reconciler, entry: SecretEntry, *, dry_run: bool = False) -> Sweep:
    """Adopt, verify and report one secret's current value. Lists neither the managed secrets nor Infobip's keys.

    :param entry: the result of :func:`stored_by_others`.
    :param dry_run: report only.
    :raises StoreError: the management secrets can't be listed.
    """
    account = account_of(entry.tags) or ""
    results: list[Result] = []

    def work(provider: KeyProvider) -> AccountPlan:
        snapshot = AccountSnapshot(account, (entry,), {})
        context = AccountContext(reconciler.services, provider, snapshot, Budget())
        plan = plan_new_value(snapshot, context.services.policy, context.now())
        if any(skip.reason is not Reason.UNADOPTED for skip in plan.skipped):
            return plan  # a hold or a wrong tag, for example: its value is not read
        text, found = _identify(context, entry)
        plan = plan_new_value(context.snapshot, context.services.policy, context.now())
        if plan.error is not None:
            return plan
        if not dry_run:
            results.extend(apply(context, action)[0] for action in plan.actions)
        if text is not None and found.key is not None and found.key.alive(context.now()):
            plan = replace(plan, alerts=(*plan.alerts, *_probe(context, entry, found.key, text)))
        return plan

    fleet = observe_fleet(reconciler.services.store, "management")
    plan = reconciler.observed(fleet, account, work)
    if plan.error is None:  # else it concerns the account, which the next sweep reports
        reconciler.raise_alerts((plan,))
    return Sweep(Plan(reconciler.services.clock.now(), (plan,)), tuple(results))


def _identify(context: AccountContext, entry: SecretEntry) -> tuple[Secret | None, Resolution]:
    """Read the current version's value and search for its key; both become the context's snapshot.

    Of the secret only that version is kept: what other versions' labels call for needs all keys, and is the sweep's.

    :returns: the value if it can be read, and which key it is.
    """
    version = read_lifecycle(entry).current_version or ""
    text = read_value(context.services.store, entry, version)
    found = text if isinstance(text, Resolution) else resolve_value(context.provider, entry, text)
    context.snapshot = replace(
        context.snapshot,
        secrets=(replace(entry, versions={version: entry.versions[version]}),),
        keys={} if found.key is None else {found.key.id: found.key},
        values={(entry.arn, version): found},
        skew=context.provider.skew(),
    )
    return (None if isinstance(text, Resolution) else text), found


def _probe(context: AccountContext, entry: SecretEntry, key: Key, text: Secret) -> tuple[Alert, ...]:
    """Use the key, again while it may be too new to be known everywhere; alert if Infobip rejects it."""
    spec, value = parse_spec(entry.tags, entry.name), key_in(text, entry)
    version = read_lifecycle(entry).current_version
    fields = entry.version_fields(version, key.id, str(Reason.UNADOPTED))
    until = key.valid_from + PROPAGATION if key.valid_from is not None else None
    probe = context.verify(spec, value, until, **fields)
    if probe is None or probe.verdict is not ProbeVerdict.REJECTED:
        return ()
    template = "Infobip rejects key {key}, the current key ({detail}); store a key that works"
    if key.allowed_ips:
        template += ", or set rotator:verify=skip if its allowedIPs exclude the rotator"
    message = Message.of(template, key=KeyId(key.id), detail=probe.detail)
    severity = Severity.WARNING if key.allowed_ips else Severity.ERROR
    return (Alert(Reason.CURRENT_KEY_BROKEN, message, entry.name, key.id, severity, location=entry.location),)
