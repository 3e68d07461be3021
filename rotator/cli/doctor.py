"""``rotator doctor``: what is wrong, and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from rotator.bootstrap import App
from rotator.cli.call import Call
from rotator.cli.doctor_iam import Check, Level, Unanswered, ask, gate_check, iam_checks
from rotator.cli.documents import fields
from rotator.cli.options import command
from rotator.durations import human_duration
from rotator.engine.observe import Fleet, management_of, observe_fleet
from rotator.errors import ConfigurationError, ProviderUnavailable, RotatorError
from rotator.infobip.credentials import parse_credentials
from rotator.model import SecretEntry, Severity
from rotator.policy.guards import MAX_SKEW
from rotator.policy.planner import OLD_CREDENTIALS
from rotator.policy.tags import spec_or_none, tag_problems
from rotator.render import Grid, counted, shown, styled

NOTABLE_SKEW: Final = timedelta(seconds=30)
MOST_SECRETS: Final = 20
"""How many secrets with invalid tags are listed by name; the rest are only counted."""
_METHODS: Final = {"basic": "Basic", "ibsso": "IBSSO", "oauth2": "OAuth 2.0"}
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@command
def doctor(call: Call) -> int:
    """Check settings, credentials, permissions, tags, clock and reachability.

    One line for each check, and how to fix what is not ok. Only reads:
    permissions to write are checked by IAM's policy simulator, and reported
    as unchecked if that is not allowed.

    Exits 1 if a check fails; a warning does not count.

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
        lines = [fields(each, "level", "subject", "detail") | {"fix": each.fix or None} for each in checks]
        call.document({"checks": lines, "failed": failed, "warnings": warnings})
    more = f" {counted(warnings, 'warning')}." if warnings else ""
    if failed:
        call.text(f"{counted(failed, 'error')}.{more}")
        return 1
    call.text(f"No errors.{more} What a sweep would do: `rotator plan`.")
    return 0


def _line(check: Check) -> Grid:
    text = shown(check.detail) + (f"\n→ {shown(check.fix)}" if check.fix else "")
    level = styled(f"{check.level:<4}", _STYLES[check.level])
    return Grid([(level, f"{shown(check.subject, 60):<16}", text)], (4, 20), indent=1)


def _checks(call: Call) -> Iterator[Check]:
    try:
        app = call.open()
    except ConfigurationError as error:  # the one line where not even the settings can be used
        yield _failed("Settings", error)
        return
    yield from examine(app)


def examine(app: App) -> Iterator[Check]:
    """Every check in turn; what depends on a failed one is left out. Errors of AWS and Infobip become checks."""
    yield from _settings(app)
    arn, checks = _identity(app)
    yield from checks
    try:
        fleet = observe_fleet(app.services.store)
    except RotatorError as error:
        yield _failed("Secrets", error)
        return
    managed = [entry for entries in fleet.managed.values() for entry in entries if entry.deleted_at is None]
    yield from _tags(fleet, managed)
    # What reading is tried on has a value, if any has.
    yield from iam_checks(app, next((each for each in managed if each.versions), next(iter(managed), None)), arn)
    gated = next((each for each in managed if (spec := spec_or_none(each.tags)) is not None and spec.gate), None)
    if gated is not None:
        yield gate_check(app, gated)
    for account in fleet.accounts:
        yield from _account(app, fleet, account)


def _settings(app: App) -> Iterator[Check]:
    settings = app.settings
    limits = f"{settings.daily_limit} creates a day, {settings.reserve} kept for emergencies"
    yield Check(Level.OK, "Settings", f"deployment {settings.deployment}, {limits}")
    if settings.dry_run:
        yield Check(Level.WARN, "Settings", "ROTATOR_DRY_RUN is set: sweeps change nothing", "Unset it to rotate keys.")


def _identity(app: App) -> tuple[str, list[Check]]:
    """The caller's ARN (``""`` where it is unknown), and how far AWS's clock is off."""
    region = str(app.session.get_config_variable("region") or "no region")
    try:
        answer = ask(app, "sts", "GetCallerIdentity", "Arn")
    except Unanswered as error:
        harmless = "identity not shown, which does no harm: " if error.level is Level.OK else ""
        return "", [Check(error.level, "AWS", f"{region}, {harmless}{error.message}", error.advice)]
    except ConfigurationError as error:
        return "", [_failed("AWS", error)]
    arn = str(answer["Arn"])
    checks = [Check(Level.OK, "AWS", f"{region}, {_who(arn)}")]
    skew = _aws_skew(answer)
    if skew is not None and abs(skew) > NOTABLE_SKEW:
        checks.append(_clock("AWS", skew))
    return arn, checks


def _who(arn: str) -> str:
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    name = rest.partition("/")[0]
    return f"{'role' if kind == 'assumed-role' else kind} {name}".strip() or "unknown identity"


def _aws_skew(answer: dict[str, Any]) -> timedelta | None:
    try:
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return None
    return None if date.tzinfo is None else date - datetime.now(UTC)  # AWS signs by the machine's own clock


def _tags(fleet: Fleet, managed: list[SecretEntry]) -> Iterator[Check]:
    managements = sum(len(entries) for entries in fleet.managements.values())
    wrong = [(entry.name, problem) for entry in managed for problem in tag_problems(entry.tags)]
    stray = [alert for alert in fleet.alerts if alert.severity is Severity.ERROR]
    invalid = len({name for name, _ in wrong} | {alert.secret for alert in stray})
    found = f"{managements} management, {len(managed)} managed, {invalid or 'none'} with invalid tags"
    if not managed and not managements:
        fix = "Tag them rotator:role and rotator:account, or check the region and the account."
        yield Check(Level.FAIL, "Secrets", "no secret is tagged rotator:role here", fix)
        return
    yield Check(Level.OK, "Secrets", found)  # each mistake has a line of its own
    lines = [Check(Level.FAIL, "Tags", f"{name}: {each.tag} {each.detail}", each.fix) for name, each in wrong]
    lines += [Check(Level.FAIL, "Tags", f"{alert.secret}: {alert.detail}") for alert in stray]
    yield from lines[:MOST_SECRETS]
    if len(lines) > MOST_SECRETS:
        yield Check(Level.FAIL, "Tags", f"and {len(lines) - MOST_SECRETS} more", "See `rotator plan --json`.")


def _account(app: App, fleet: Fleet, account: str) -> Iterator[Check]:
    subject = f"Infobip {account}"
    try:
        entry = management_of(fleet, account)
        text = app.services.store.read_current(entry.arn).text
        credentials = parse_credentials(entry.name, text, app.settings.allowed_hosts)
        provider = app.services.connect(entry, text)
    except RotatorError as error:
        yield _failed(subject, error)
        return
    try:
        listing = provider.list_keys()
        skew = provider.skew()
    except ProviderUnavailable as error:
        fix = error.advice or f"Check base_url in {entry.name}, and name resolution, proxy and firewall here."
        yield Check(Level.FAIL, subject, error.message, fix)
        return
    except RotatorError as error:
        yield _failed(subject, error)
        return
    finally:
        provider.close()
    method = _METHODS[credentials.auth]
    yield Check(Level.OK, subject, f"{method}, user {credentials.username}, may list {len(listing.keys)} keys")
    if not listing.complete:
        fix = "Run it again; if that does not help, ask Infobip's support."
        yield Check(Level.WARN, subject, "its pages of keys are inconsistent", fix)
    age = app.clock.now() - (entry.last_changed or app.clock.now())
    if age > OLD_CREDENTIALS:
        fix = f"Change it at Infobip, then in {entry.name}."
        yield Check(Level.WARN, subject, f"management password is {age.days} days old", fix)
    yield _clock(subject, skew) if skew is not None else Check(Level.WARN, "Clock", f"{subject} sends no Date header")


def _clock(where: str, skew: timedelta) -> Check:
    distance = abs(skew)
    if distance <= NOTABLE_SKEW:
        return Check(Level.OK, "Clock", f"{human_duration(distance)} off {where}'s")
    direction = "behind" if skew > timedelta(0) else "ahead of"
    level = Level.FAIL if distance > MAX_SKEW else Level.WARN
    detail = f"this machine's clock is {human_duration(distance)} {direction} {where}"
    return Check(level, "Clock", detail, "Set the clock (NTP); beyond 5 minutes nothing is rotated.")


def _failed(subject: str, error: RotatorError) -> Check:
    return Check(Level.FAIL, subject, error.message, error.advice)
