"""``rotator doctor``: what is wrong, and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, TypedDict

from botocore.exceptions import BotoCoreError

from rotator.aws.clients import fetch_role, make_client
from rotator.aws.iam import CallDenied, CredentialsRejected, Unanswered, identify, simulate, simulated_principal
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.aws.stores import Member, Stores
from rotator.bootstrap import App
from rotator.cli.call import EXIT_FAILED, EXIT_USAGE, Call
from rotator.cli.documents import shaped
from rotator.cli.options import command
from rotator.durations import human_duration
from rotator.engine.answers import read_log
from rotator.engine.observe import Fleet, management_of, observe_fleet
from rotator.errors import (
    BadSecretValue,
    ConfigurationError,
    ProviderUnavailable,
    RotatorError,
    SecretNotFound,
    StoreDenied,
)
from rotator.infobip.credentials import parse_credentials
from rotator.model import SecretEntry
from rotator.plan import Severity
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import other_deployments
from rotator.policy.planner import MANAGEMENT_PASSWORD_OLD
from rotator.policy.tags import GATE_TAG, spec_or_none, tag_problems
from rotator.ports import SecretStore
from rotator.render import Grid, counted, shown, styled

NOTABLE_SKEW: Final = timedelta(seconds=30)
MOST_TAG_MISTAKES: Final = 20
"""How many secrets with invalid tags are listed by name; the rest are only counted."""
_METHODS: Final = {"basic": "Basic", "ibsso": "IBSSO", "oauth2": "OAuth 2.0"}
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
WRITES: Final = ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")
_ENCRYPT: Final = "kms:GenerateDataKey"
_FIX: Final = "Allow it in the IAM policy of the role or user that runs the rotator."


class Level(StrEnum):
    """Severity of a check result; only ``fail`` affects the exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was checked, what was found, and how to fix it."""

    level: Level
    subject: str
    detail: str
    fix: str | None = None


class DoctorDocument(TypedDict):
    """``doctor``."""

    checks: list[Check]
    failed: int
    warnings: int


@command(DoctorDocument)
def doctor(call: Call) -> int:
    """Check settings, credentials, permissions, tags, clock and connectivity.

    Prints one line per check and how to fix failures. Read-only: write
    permissions are checked with the IAM policy simulator, and reported as
    unchecked if that is not allowed.

    Exits 1 if a check fails, 2 if settings or credentials can't be used; a
    warning does not count.

    \b
    Examples:
      rotator doctor
      rotator doctor --json | jq '.checks[] | select(.level == "fail")'
    """
    checks = []
    for check in _checks(call):
        checks.append(check)
        call.text(_line(check))
    counts = Counter(check.level for check in checks)
    failed, warnings = counts[Level.FAIL], counts[Level.WARN]
    if call.json:
        lines = [shaped(Check, each, fix=each.fix or None) for each in checks]
        call.document({"checks": lines, "failed": failed, "warnings": warnings})
    more = f" {counted(warnings, 'warning')}." if warnings else ""
    if failed:
        call.text(f"{counted(failed, 'error')}.{more}")
        return EXIT_USAGE if checks[0].level is Level.FAIL else EXIT_FAILED
    call.text(f"No errors.{more} Next: `rotator plan`.")
    return 0


def _line(check: Check) -> Grid:
    text = shown(check.detail) + (f"\n→ {shown(check.fix)}" if check.fix else "")
    level = styled(f"{check.level:<4}", _STYLES[check.level])
    return Grid([(level, f"{shown(check.subject, 60):<16}", text)], (4, 20), indent=1)


def _checks(call: Call) -> Iterator[Check]:
    """Yield every check, except those that depend on a failed one. Errors of AWS and Infobip become checks."""
    try:
        app = call.open()
    except ConfigurationError as error:  # the only line if the settings can't be used
        yield _failed("Settings", error)
        return
    yield from _settings(app)
    arn, checks = _identity(app)
    yield from checks
    try:
        fleet = observe_fleet(app.services.store)
    except RotatorError as error:
        yield _failed("Secrets", error)
        return
    managed = [entry for entries in fleet.managed.values() for entry in entries if entry.deleted_at is None]
    yield from _tags(fleet, managed, app.services.where)
    stores = app.services.store
    if isinstance(stores, Stores):
        for member in stores.members:
            yield from _store(app, member, [each for each in managed if stores.member_of(each.arn) is member])
    else:
        yield from _iam(app.session, stores, managed, arn)
    gated = next((each for each in managed if (spec := spec_or_none(each.tags)) is not None and spec.gate), None)
    if gated is not None:
        yield _gate(app, gated)
    for account in fleet.accounts:
        yield from _account(app, fleet, account)


def _store(app: App, member: Member, managed: list[SecretEntry]) -> Iterator[Check]:
    """Check one of several stores: its role and external id by a listing, then permissions on one of its secrets."""
    try:
        member.call(lambda store: store.list_secrets())
    except RotatorError as error:
        yield Check(Level.FAIL, "Store", f"{member.id}: {error.message}", error.advice)
        return
    yield Check(Level.OK, "Store", f"{member.id} can be listed")
    if member.id.role is not None:
        with suppress(BotoCoreError):
            fetch_role(app.session, member.id.role, None, member.id.region)
            detail = f"{member.id.role} can be assumed without an external id"
            fix = "Require sts:ExternalId in the role's trust policy, and set ROTATOR_EXTERNAL_ID."
            yield Check(Level.WARN, "Store", detail, fix)
    caller = ""
    with suppress(RotatorError):
        caller, _ = identify(member.session)
    yield from _iam(member.session, member.store, managed, caller)


def _settings(app: App) -> Iterator[Check]:
    settings = app.settings
    limits = f"{settings.daily_limit} creates per day, {settings.reserve} reserved for emergencies"
    yield Check(Level.OK, "Settings", f"deployment {settings.deployment}, {limits}")
    if settings.dry_run:
        yield Check(Level.WARN, "Settings", "ROTATOR_DRY_RUN is set: sweeps change nothing", "Unset it to rotate keys.")


def _identity(app: App) -> tuple[str, list[Check]]:
    """Return the caller's ARN (``""`` if unknown), and a check of AWS's clock if it is off."""
    region = str(app.session.get_config_variable("region") or "no region")
    try:
        arn, skew = identify(app.session)
    except CallDenied as error:
        return "", [Check(Level.OK, "AWS", f"{region}, identity unknown (harmless): {error.message}")]
    except Unanswered as error:
        level = Level.FAIL if isinstance(error, CredentialsRejected) else Level.WARN
        return "", [Check(level, "AWS", f"{region}, {error.message}", error.advice)]
    except ConfigurationError as error:
        return "", [_failed("AWS", error)]
    checks = [Check(Level.OK, "AWS", f"{region}, {_who(arn)}")]
    if skew is not None and abs(skew) > NOTABLE_SKEW:
        checks.append(_clock("AWS", skew))
    return arn, checks


def _who(arn: str) -> str:
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    name = rest.partition("/")[0]
    return f"{'role' if kind == 'assumed-role' else kind} {name}".strip() or "unknown identity"


def _tags(fleet: Fleet, managed: list[SecretEntry], where: str) -> Iterator[Check]:
    managements = sum(len(entries) for entries in fleet.managements.values())
    wrong = [(entry.name, problem) for entry in managed for problem in tag_problems(entry.tags)]
    stray = [alert for alert in fleet.alerts if alert.severity is Severity.ERROR and alert.secret is not None]
    invalid = len({name for name, _ in wrong} | {alert.secret for alert in stray})
    found = f"{managements} management, {len(managed)} managed, {invalid or 'none'} with invalid tags"
    if not managed and not managements:
        fix = "Add the tags rotator:role and rotator:account, or check the region and AWS account."
        yield Check(Level.FAIL, "Secrets", f"no secret in {where} has the tag rotator:role", fix)
        return
    yield Check(Level.OK, "Secrets", found)  # each mistake has a line of its own
    lines = [Check(Level.FAIL, "Tags", f"{name}: {each.tag} {each.detail}", each.fix) for name, each in wrong]
    lines += [Check(Level.FAIL, "Tags", f"{alert.secret}: {alert.detail}") for alert in stray]
    yield from lines[:MOST_TAG_MISTAKES]
    if len(lines) > MOST_TAG_MISTAKES:
        yield Check(Level.FAIL, "Tags", f"and {len(lines) - MOST_TAG_MISTAKES} more", "See `rotator plan --json`.")


def _account(app: App, fleet: Fleet, account: str) -> Iterator[Check]:
    subject = f"Infobip {account}"
    try:
        entry = management_of(fleet, account)
        text = app.services.store.read_current(entry.arn).text
        credentials = parse_credentials(entry.name, text, app.settings.allowed_hosts)
        with closing(app.services.connect(entry, text)) as provider:
            listing, skew = provider.list_keys(), provider.skew()
    except RotatorError as error:
        unreachable = "Check base_url in the management secret, and DNS, proxy and firewall on this machine."
        fix = error.advice or (unreachable if isinstance(error, ProviderUnavailable) else "")
        yield Check(Level.FAIL, subject, error.message, fix)
        return
    method = _METHODS[credentials.auth]
    yield Check(Level.OK, subject, f"{method} as {credentials.username}: {len(listing.keys)} keys listed")
    keys = {key.id: key for key in listing.keys}
    current = [(each, keys.get(read_lifecycle(each).current_key or "")) for each in fleet.managed.get(account, ())]
    if others := other_deployments(current, app.settings.deployment):
        named, own = " or ".join(others), app.settings.deployment
        detail = f"every key in use that a rotator created is named after deployment {named}, none after {own}"
        yield Check(Level.WARN, subject, detail, "Set ROTATOR_DEPLOYMENT to that name, unless you are changing it.")
    if not listing.complete:
        fix = "Retry; if it still fails, contact Infobip support."
        yield Check(Level.WARN, subject, "its key list is inconsistent (pages and total do not match)", fix)
    age = app.clock.now() - (entry.last_changed or app.clock.now())
    if age > MANAGEMENT_PASSWORD_OLD:
        fix = f"Change it at Infobip, then update {entry.name}."
        yield Check(Level.WARN, subject, f"management password is {age.days} days old", fix)
    yield (
        _clock(subject, skew)
        if skew is not None
        else Check(Level.WARN, "Clock", f"{subject} does not send a Date header")
    )


def _clock(where: str, skew: timedelta) -> Check:
    distance = abs(skew)
    if distance <= NOTABLE_SKEW:
        return Check(Level.OK, "Clock", f"differs from {where}'s by {human_duration(distance)}")
    direction = "behind" if skew > timedelta(0) else "ahead of"
    level = Level.FAIL if distance > MAX_SKEW else Level.WARN
    detail = f"this machine's clock is {human_duration(distance)} {direction} {where}"
    return Check(level, "Clock", detail, "Sync the clock with NTP; above 5 minutes nothing is rotated.")


def _failed(subject: str, error: RotatorError) -> Check:
    return Check(Level.FAIL, subject, error.message, error.advice)


# ---- permissions: reads are tried on one secret, writes are checked by the IAM policy simulator only -----------------


def _iam(session: Any, store: SecretStore, managed: list[SecretEntry], caller: str) -> Iterator[Check]:
    """Check permissions on one of a store's managed secrets. ``ListSecrets`` has already worked when this is called.

    :param caller: the caller's ARN, or ``""``.
    """
    # Reads are tried on a secret that has a value, if there is one.
    sample = next((each for each in managed if each.versions), next(iter(managed), None))
    if sample is None:
        detail = "secretsmanager:ListSecrets works; no managed secret yet, so the other permissions were not checked"
        yield Check(Level.WARN, "IAM", detail)
        return
    tries: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("secretsmanager:DescribeSecret", store.describe),
        ("secretsmanager:GetSecretValue", store.read_current),
        ("secretsmanager:ListSecretVersionIds", store.version_dates),
    )
    worked = ["ListSecrets"]
    for action, attempt in tries:
        try:
            with suppress(SecretNotFound, BadSecretValue):  # allowed; other checks examine the content
                attempt(sample.arn)
            worked.append(action.partition(":")[2])
        except StoreDenied as error:
            denied = error.action or action
            yield Check(Level.FAIL, "IAM", f"{denied} is denied on {sample.title}", error.advice or _FIX)
        except RotatorError as error:
            yield Check(Level.FAIL, "IAM", f"{action} failed on {sample.title}: {error.message}", error.advice)
    try:  # a new store: that of the services hides a denied batch by reading one by one
        SecretsManagerStore(make_client(session, "secretsmanager")).read_batch([sample.arn])
        worked.append("BatchGetSecretValue")
    except RotatorError as error:
        denied = f"{error.action} is denied" if isinstance(error, StoreDenied) else error.message
        detail = f"{denied}: before a revocation, sweeps read managed secrets one by one instead of in batches"
        yield Check(Level.WARN, "IAM", detail, error.advice)
    yield Check(Level.OK, "IAM", f"{', '.join(worked)} work on {sample.title}")
    yield from _writes(session, sample, caller)


def _gate(app: App, gated: SecretEntry) -> Check:
    """Whether CloudTrail can be read, which the tag ``rotator:gate`` needs."""
    try:
        read_log(app.services, gated, app.clock.now() - timedelta(days=1))
    except RotatorError as error:
        detail = f"{error.message}: {gated.name} has the tag {GATE_TAG}, so its old key stays until the gate times out"
        return Check(Level.WARN, "CloudTrail", detail, error.advice)
    detail = f"cloudtrail:LookupEvents works, which the tag {GATE_TAG} on {gated.name} needs"
    return Check(Level.OK, "CloudTrail", detail)


def _writes(session: Any, sample: SecretEntry, caller: str) -> Iterator[Check]:
    """Simulate writes. None is tried, not even one that must fail: a mistake in it would change a secret."""
    principal = simulated_principal(caller)
    if principal is None:
        yield _unchecked("the caller's role or user is unknown")
        return
    try:
        allowed = simulate(session, principal, WRITES, sample.arn, sample.tags)
        key = _key_arn(sample)
        encrypts = key is None or simulate(session, principal, (_ENCRYPT,), key, {})
    except RotatorError as error:
        yield _unchecked(error.message, error.advice)
        return
    for action in WRITES:
        if action not in allowed:
            yield Check(Level.FAIL, "IAM", f"{action} is denied on {sample.title} (IAM policy simulator)", _FIX)
    if not encrypts:  # the simulator does not know the key's policy
        detail = f"no IAM policy allows {_ENCRYPT} with {key}, the KMS key of {sample.title} (IAM policy simulator)"
        yield Check(Level.WARN, "KMS", detail, "Writes fail unless the key policy allows it. Otherwise, grant it.")
    if allowed:
        names = ", ".join(action.partition(":")[2] for action in allowed)
        yield Check(Level.OK, "IAM", f"{names} allowed on {sample.title} (IAM policy simulator)")


def _key_arn(sample: SecretEntry) -> str | None:
    """Return the ARN of a secret's own KMS key; ``None`` for AWS's key, and for an alias, which no policy names."""
    key = sample.kms_key
    if key is None or "alias/" in key:
        return None
    return (
        key
        if key.startswith("arn:")
        else f"{sample.arn.partition(':secret:')[0].replace(':secretsmanager:', ':kms:')}:key/{key}"
    )


def _unchecked(why: str, fix: str = "") -> Check:
    names = " and ".join(action.partition(":")[2] for action in WRITES)
    return Check(Level.WARN, "IAM", f"{names} were not checked: {why}", fix)
