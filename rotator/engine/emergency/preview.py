"""What a plan promises, checked before anybody confirms it: by the checks of its execution, up to the first change."""

from __future__ import annotations

from rotator.engine.emergency.holders import revocations_of
from rotator.engine.emergency.incident import Work
from rotator.engine.emergency.replacement import Replacer
from rotator.engine.emergency.revocations import Revoker, unproven_text
from rotator.engine.emergency.targets import CURRENT
from rotator.errors import ProviderError, RotatorError
from rotator.model import SecretEntry
from rotator.policy.lifecycle import read_lifecycle


def impossible_replacements(work: Work) -> dict[str, str]:
    """Why secrets of the plan can get no new key, and what that means, as sentences by ARN. Changes nothing.

    :raises ProviderError: Infobip can't be asked.
    """
    replacing = Replacer(work, Revoker(work))
    found: dict[str, str] = {}
    for listed in work.plan.replaced:
        entry = listed
        try:
            entry = work.fresh(listed.arn)
            replacing.check(entry)
        except ProviderError:
            raise
        except RotatorError as error:
            found[listed.arn] = _sentence(work, entry, error)
    return found


def unproven_keys(work: Work) -> tuple[str, ...]:
    """Which keys would not be revoked since nothing proves that they are the secret's, as sentences."""
    revoker, found = Revoker(work), []
    for revocation in work.plan.revocations:
        key = work.plan.keys.get(revocation.key_id)
        missing = revoker.missing_proof(revocation) if key is not None and key.enabled else None
        if missing is not None:
            found.append(unproven_text(work, revocation, missing))
    return tuple(found)


def _sentence(work: Work, entry: SecretEntry, error: RotatorError) -> str:
    why = str(error).removeprefix(f"{entry.name}: ")
    stop = "" if why.endswith((".", "!", "?")) else "."
    current, secret, named = read_lifecycle(entry).current_key, work.plan.secret, work.plan.named
    then = "If you go on, its current key is revoked all the same, and its consumers fail until it has a new one."
    revocation = next((revocation for revocation in revocations_of(entry) if revocation.role == CURRENT), None)
    if revocation is not None and Revoker(work).missing_proof(revocation) is not None:
        then = "If you go on, its current key stays as well."
    elif secret is not None and secret.arn == entry.arn and named not in (None, current):
        then = f"If you go on, its current key {current} was not named and stays; its other keys are revoked."
    way_out = "Fix this first, or use the strategy revoke-only on purpose."
    return f"no replacement can be made for {entry.name}: {why}{stop} {then} {way_out}"
