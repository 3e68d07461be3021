"""What a plan promises, checked before anybody confirms it: by the checks of its execution, up to the first change."""

from __future__ import annotations

from rotator.engine.emergency.holders import kills_of
from rotator.engine.emergency.incident import Work
from rotator.engine.emergency.replacement import Replacing
from rotator.engine.emergency.revocations import Killing, unproven_text
from rotator.engine.emergency.targets import CURRENT
from rotator.errors import ProviderError, RotatorError
from rotator.model import SecretEntry
from rotator.policy.lifecycle import read_lifecycle


def impossible_replacements(work: Work) -> dict[str, str]:
    """Why secrets of the plan can get no new key, and what that means, as sentences by ARN. Changes nothing.

    :raises ProviderError: Infobip can't be asked.
    """
    replacing = Replacing(work, Killing(work))
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
    killing, found = Killing(work), []
    for kill in work.plan.kills:
        key = work.plan.keys.get(kill.key_id)
        missing = killing.missing_proof(kill) if key is not None and key.enabled else None
        if missing is not None:
            found.append(unproven_text(work, kill, missing))
    return tuple(found)


def _sentence(work: Work, entry: SecretEntry, error: RotatorError) -> str:
    why = str(error).removeprefix(f"{entry.name}: ")
    stop = "" if why.endswith((".", "!", "?")) else "."
    current, secret, named = read_lifecycle(entry).current_key, work.plan.secret, work.plan.named
    then = "If you go on, its current key is revoked all the same, and its consumers fail until it has a new one."
    kill = next((kill for kill in kills_of(entry) if kill.role == CURRENT), None)
    if kill is not None and Killing(work).missing_proof(kill) is not None:
        then = "If you go on, its current key stays as well."
    elif secret is not None and secret.arn == entry.arn and named not in (None, current):
        then = f"If you go on, its current key {current} was not named and stays; its other keys are revoked."
    way_out = "Fix this first, or use the strategy revoke-only on purpose."
    return f"no replacement can be made for {entry.name}: {why}{stop} {then} {way_out}"
