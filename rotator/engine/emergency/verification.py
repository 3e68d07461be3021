"""Using each dead key once more, until it is refused: the proof. Where a refusal proves nothing, that is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.emergency.incident import Work, spec_of
from rotator.engine.emergency.outcome import Step
from rotator.errors import KeyNotFound, RotatorError
from rotator.model import SecretEntry
from rotator.ports import FetchedKey, Probe, ProbeVerdict
from rotator.secret import Secret

VERIFY_TIMEOUT: Final = timedelta(seconds=60)
"""How long a revocation may take to show everywhere."""
LONGEST_WAIT: Final = 8.0


def verify_revoked(work: Work) -> None:
    """Complete the report: each revoked key's note says how far it is proven to be dead."""
    until = work.now() + VERIFY_TIMEOUT
    for position, step in enumerate(work.report.steps):
        if step.what == "revoked" and step.ok and step.key_id is not None:
            work.report.steps[position] = _verified(work, step, step.key_id, until)


def _verified(work: Work, step: Step, key_id: str, until: datetime) -> Step:
    entry = _entry(work, step.secret)
    spec = spec_of(entry)
    fetched = _fetched(work, key_id)
    shown = "Infobip shows it disabled" if fetched is not None and not fetched.key.enabled else "Infobip confirmed it"
    if key_id in work.not_found:
        shown = "Infobip has no such key any more"
    value = work.values.get(key_id) or (fetched.value if fetched is not None else None)
    if value is None:
        return replace(step, note=f"not verified: {shown}, but its value can't be read to try it")
    probe = _probed(work, value, spec.verify_path, until)
    if probe.verdict is ProbeVerdict.AUTHENTICATES:
        work.report.errors.append(
            f"key {key_id} of {step.secret} STILL authenticates after {VERIFY_TIMEOUT.seconds} s, though {shown}. "
            "Check it in Infobip's portal, and repeat the command."
        )
        return replace(step, note="still authenticates", ok=False)
    if probe.verdict is ProbeVerdict.INCONCLUSIVE:
        return replace(step, note=f"not verified: {shown}, and the probe told nothing ({probe.detail})")
    allowed = fetched.key.allowed_ips if fetched is not None else None
    shut_out = not spec.verify if allowed is None else bool(allowed) and allowed not in work.admitted
    if shut_out:
        # From an address that is not allowed, a living key is refused as well.
        return replace(step, note=f"not verified: {shown}; its allowedIPs may refuse a probe from here in any case")
    return replace(step, note="verified: 401" if key_id not in work.not_found else f"verified: 401; {shown}")


def _probed(work: Work, value: Secret, path: str, until: datetime) -> Probe:
    wait = 0.5
    while True:
        probe = work.provider.probe(value, path)
        left = (until - work.now()).total_seconds()
        if probe.verdict is ProbeVerdict.REJECTED or left <= 0:
            return probe
        work.services.clock.sleep(min(wait, left))
        wait = min(wait * 2, LONGEST_WAIT)


def _fetched(work: Work, key_id: str) -> FetchedKey | None:
    try:
        return work.provider.get_key(key_id)
    except (KeyNotFound, RotatorError):
        return None


def _entry(work: Work, secret: str) -> SecretEntry | None:
    candidates = (work.plan.secret, *work.plan.replaced)
    return next((entry for entry in candidates if entry is not None and entry.name == secret), None)
