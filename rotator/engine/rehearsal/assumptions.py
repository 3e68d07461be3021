"""What the rotator assumes of Infobip and Secrets Manager, one row each, and what it does where that differs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rotator.errors import RotatorError


class Part(StrEnum):
    """The parts of a rehearsal. The last three use one way to authenticate, and run only if they are chosen."""

    INFOBIP = "infobip"
    FLOW = "flow"
    AWS = "aws"
    BASIC = "basic"
    IBSSO = "ibsso"
    OAUTH2 = "oauth2"


DEFAULT_PARTS: Final = (Part.INFOBIP, Part.FLOW, Part.AWS)


class Verdict(StrEnum):
    """Whether an assumption holds on this account."""

    HOLDS = "holds"
    DIFFERS = "differs"
    UNTESTED = "could not be tested"


@dataclass(frozen=True, slots=True)
class Assumption:
    """One assumption.

    :param needed: the rotator can't work where it differs; otherwise it works differently.
    :param means: what it means here if it differs, as a sentence.
    """

    id: str
    part: Part
    needed: bool
    text: str
    means: str


@dataclass(frozen=True, slots=True)
class CheckedAssumption:
    """An assumption and what became of it.

    :param seen: what was observed; contains no value, host, id or account name, so it can be shared.
    :param error: the error in full, for this machine's user only.
    """

    assumption: Assumption
    verdict: Verdict
    seen: str = ""
    error: str = ""

    @property
    def breaks(self) -> bool:
        """Whether the rotator must not run on this account."""
        return self.assumption.needed and self.verdict is Verdict.DIFFERS


_ROW: Final = re.compile(r"(\S+) \| (needed|informative) \| (.+)\n  (.+)\n")


def _table(part: Part, rows: str) -> dict[str, Assumption]:
    """Read rows of two lines: id, whether it is needed and the assumption; what it means if it differs."""
    return {row[1]: Assumption(row[1], part, row[2] == "needed", row[3], row[4]) for row in _ROW.finditer(rows)}


_INFOBIP: Final = _table(
    Part.INFOBIP,
    """
role | needed | the management user may create keys
  Give the user a role that may manage API keys.
clock | needed | responses have a Date header, and this machine's clock agrees with it
  Sync the clock with NTP: with more than 5 minutes of difference nothing is rotated.
create-value | needed | a create returns the key's value
  No replacement can be stored, so nothing rotates.
read-value | informative | a read by id returns the value
  A key whose create got no response can't be adopted: it is revoked, and another one is created.
times | needed | times are returned as they were sent, in UTC
  Expiry dates are misread. Do not go live.
rights | needed | a new key has the scopes that were requested
  Every replacement is rejected.
name-filter | informative | the filter `name` returns exact matches
  The rotator filters the names itself; searches return more keys and take longer.
names | informative | two keys can have the same name
  A create that is repeated after a lost response is rejected until the first key is found.
value-search | needed | a search by value returns the key with that value
  Pasted and leaked keys can't be identified.
value-filter | needed | a search by an unknown value returns no key
  The filter is ignored, so a value does not identify a key. Do not go live.
enabled-filter | informative | the filter `enabled` returns only such keys
  The rotator filters itself; each sweep lists the disabled keys as well.
total-count | needed | totalCount is the number of keys
  The list is taken for incomplete: missing keys are not acted on, and overlapping sweeps are not counted.
probe | needed | a new key is accepted within 60 s
  Replacements are rejected before they work.
probe-at-once | informative | a new key is accepted at once
  A rotation waits up to 60 s for the new key.
missing-scope | informative | a key without the scope for the probe path gets a 403
  Keys without that scope need rotator:verify-path or rotator:verify=skip.
update-keeps | needed | an update leaves the fields that it does not contain unchanged
  A revocation changes more than the key's state: check what it changed before you go live.
disabled-refused | needed | a disabled key is refused within 60 s
  A revocation does not take effect in time, and emergencies report `verified: false`.
disabled-at-once | informative | a disabled key is refused at once
  A revoked key works for some seconds more; an emergency waits for it.
disable-twice | needed | disabling a key twice is harmless
  Retried revocations fail.
retry-after | informative | a 429 says in Retry-After how long to wait
  A read that gets a 429 is retried after 1 to 8 s instead.
""",
)
_FLOW: Final = _table(
    Part.FLOW,
    """
first-key | needed | the first key is created, stored and verified
  Secrets do not get keys.
rotation | needed | a rotation replaces the current key
  Keys are not rotated.
rollback | needed | a rollback makes the previous key current again
  Rollbacks fail.
rotation-again | needed | a rotation after a rollback replaces the current key
  Keys are not rotated.
retirement | needed | a sweep revokes the old key after its grace period
  Old keys stay enabled.
emergency | needed | an emergency by value replaces and revokes the key
  Leaked keys stay enabled.
""",
)
_AWS: Final = _table(
    Part.AWS,
    """
stage | needed | one call stores a version and its labels
  An interrupted rotation can lose its key.
swap | needed | AWSCURRENT is not moved from a version that lost it
  Two processes can undo each other.
labels | needed | custom labels stay when AWSCURRENT moves
  Old keys are not revoked in time.
consumer | needed | a consumer, also one with a cache, reads the new value after AWSCURRENT moved
  Consumers get the old key.
list-delay | informative | a change is in ListSecrets at once
  The list is older than the secret; the rotator reads a secret again before it changes it.
batch | informative | BatchGetSecretValue is allowed
  Values are read one by one; grant secretsmanager:BatchGetSecretValue on all resources.
permissions | needed | this principal may make the calls that the rotator makes
  Grant what the error names. For your own secrets, `rotator doctor` checks the permissions.
""",
)
_LOGINS: Final = {
    str(part): Assumption(str(part), part, False, f"{name} works with these credentials", f"Do not use auth={part}.")
    for part, name in ((Part.BASIC, "Basic"), (Part.IBSSO, "IBSSO"), (Part.OAUTH2, "OAuth 2.0"))
}
ASSUMPTIONS: Final = {**_INFOBIP, **_FLOW, **_AWS, **_LOGINS}
"""By id, by subject as in docs/rehearsal.md. A report has them in the order in which they are tried."""


def checked(
    assumption: str, holds: bool | None, seen: str = "", error: RotatorError | None = None
) -> CheckedAssumption:
    """Say whether an assumption holds; ``None`` is "could not be tested".

    :param assumption: its id.
    :param seen: what was observed; by default the class of ``error``.
    """
    verdict = Verdict.UNTESTED if holds is None else Verdict.HOLDS if holds else Verdict.DIFFERS
    if error is not None:
        return CheckedAssumption(ASSUMPTIONS[assumption], verdict, seen or type(error).__name__, str(error))
    return CheckedAssumption(ASSUMPTIONS[assumption], verdict, seen)
