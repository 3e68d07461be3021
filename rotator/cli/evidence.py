"""``rotator evidence``: what an assessor samples, for a period."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import click
from rich.console import RenderableType

from rotator.aws.clients import make_client
from rotator.aws.kms import SigningKey
from rotator.aws.log_groups import audit_lines
from rotator.cli.call import Call
from rotator.cli.documents import AccountError, errors_field, shaped
from rotator.cli.options import command
from rotator.errors import ConfigurationError
from rotator.evidence import pack
from rotator.evidence.history import History
from rotator.evidence.verification import Verification, verify_pack
from rotator.render import Grid, counted, shown, styled
from rotator.telemetry.audit_verify import open_lines

_LONGEST: Final = timedelta(days=3660)


class EvidenceDocument(TypedDict):
    """``evidence``: the pack that was written. ``rows`` counts each table's lines; ``notes``: what it lacks."""

    folder: str
    rows: dict[str, int]
    sources: int
    chain_intact: bool
    gaps: int
    notes: list[str]
    signed_by: str | None
    errors: NotRequired[list[AccountError]]


class DifferenceShape(TypedDict):
    """A file that differs from the manifest, and how."""

    file: str
    detail: str


class EvidenceVerifyDocument(TypedDict):
    """``evidence --verify``. ``unlisted``: files that are not part of the pack."""

    folder: str
    ok: bool
    differences: list[DifferenceShape]
    unlisted: list[str]
    signed_by: str | None


@command(EvidenceDocument, EvidenceVerifyDocument)
@click.option("--from", "begin", metavar="DATE", help="First day, for example 2026-09-01 (UTC), or a time.")
@click.option("--to", "end", metavar="DATE", help="Last day, or the time at which the period ends.")
@click.option("-o", "--output", "folder", metavar="DIR", help="New or empty folder to write.")
@click.option("--audit", "files", metavar="FILE", multiple=True, help="Audit file, gzip too; repeatable.")
@click.option("--log-group", "group", metavar="NAME", help="Read audit lines from CloudWatch Logs instead.")
@click.option("--kms-key", metavar="ID", help="Sign the manifest; with --verify: the key that must have signed it.")
@click.option("--owner-tag", metavar="TAG", default="owner", show_default=True, help="Tag with a secret's owner.")
@click.option("--verify", "verified", metavar="DIR", help="Check a pack's files and signature instead.")
def evidence(
    call: Call,
    begin: str | None,
    end: str | None,
    folder: str | None,
    files: tuple[str, ...],
    group: str | None,
    kms_key: str | None,
    owner_tag: str,
    verified: str | None,
) -> int:
    """Write an auditor's evidence for a period, or verify it.

    Writes tables (population, rotations, revocations, emergencies,
    exceptions, unexplained), a summary, and a manifest with the SHA-256 of
    each file. Changes nothing else.

    Exits 1 if an account or a store can't be read, the audit trail has missing
    or altered lines, or a file or the signature differs.

    \b
    Examples:
      rotator evidence --from 2026-09-01 --to 2026-11-30 -o evidence \\
          --audit audit.jsonl
      rotator evidence --verify evidence
    """
    if verified is not None:
        if begin or end or folder or files or group:
            raise ConfigurationError(
                "--verify takes no other option than --kms-key", advice="Remove the others, or remove --verify."
            )
        return _verify(call, Path(verified), kms_key)
    if begin is None or end is None or folder is None:
        raise ConfigurationError(
            "evidence requires --from, --to and -o, or --verify", advice="For an example: `rotator evidence --help`."
        )
    if files and group:
        raise ConfigurationError("--audit and --log-group cannot be used together", advice="Use one or the other.")
    first, last = _moment("--from", begin), _moment("--to", end, whole_day=True)
    if not first < last <= first + _LONGEST:
        raise ConfigurationError("--from must be before --to, by at most ten years", advice="Swap or change them.")
    sources: list[tuple[str, Callable[[int], bytes]]] = [(name, open_lines(Path(name), call.closing)) for name in files]
    app = call.open()
    if first > app.services.clock.now():
        raise ConfigurationError("--from is in the future", advice="Use a period that has begun.")
    key = SigningKey.named(make_client(app.session, "kms"), kms_key) if kms_key else None
    if group:
        lines = audit_lines(make_client(app.session, "logs"), group, first, last)
        sources.append((group, lambda _size: next(lines, b"")))
    target = Path(folder)
    pack.check_folder(target)
    history = History(app.settings.deployment, first, last)
    days = (last - first).days + 1
    with click.progressbar(length=days, label="audit lines", file=sys.stderr, hidden=not call.is_live) as bar:
        for name, readline in sources:
            history.read(name, readline, lambda at: bar.update(max(0, min((at - first).days, days) - bar.pos)))
    pack.check_folder(target, create=True)
    made = pack.write_pack(app.services, history, target, app.redactor, owner_tag=owner_tag, key=key)
    document = {
        "folder": str(target),
        "rows": {name: len(each) for name, each in made.rows.items()},
        "sources": len(sources),
        "chain_intact": not made.manifest["problem_count"],
        "gaps": made.manifest["gap_count"],
        "notes": made.manifest["notes"],
        "signed_by": made.manifest["signed_by"],
    }
    call.result(document | errors_field(made.broken), _parts(target, made))
    return 0 if made.ok else 1


def _parts(folder: Path, made: pack.Pack) -> Iterator[RenderableType]:
    yield Grid([(f"{len(each):>6,}", name) for name, each in made.rows.items()], (7,))
    yield ""
    problems, gaps = made.manifest["problem_count"], made.manifest["gap_count"]
    if problems:
        yield styled(f"The audit trail is NOT intact: {counted(problems, 'problem')}, listed in manifest.json.", "red")
    if not made.manifest["sources"]:
        yield styled("No audit lines were read. Add --audit or --log-group.", "yellow")
    elif gaps:
        yield styled(f"{counted(gaps, 'part')} of the period without audit lines, listed in manifest.json.", "yellow")
    yield from map(shown, made.manifest["notes"])
    yield f"Wrote {shown(str(folder))}. Open summary.html in a browser."


def _verify(call: Call, folder: Path, kms_key: str | None) -> int:
    found = verify_pack(folder, kms_key, lambda name: SigningKey.named(make_client(call.open().session, "kms"), name))
    call.result(shaped(EvidenceVerifyDocument, found, folder=str(folder)), _verified_parts(folder, found))
    return 0 if found.ok else 1


def _verified_parts(folder: Path, found: Verification) -> Iterator[RenderableType]:
    for each in found.differences:
        yield styled(f"{shown(each.file)}: {shown(each.detail)}", "red")
    for name in found.unlisted:
        yield f"{shown(name)} is not part of the pack and was not checked."
    by = f"signed by {shown(found.signed_by)}" if found.signed_by else "not signed"
    yield f"{shown(str(folder))} {'equals' if found.ok else 'DIFFERS from'} its manifest ({by})."


def _moment(option: str, text: str, *, whole_day: bool = False) -> datetime:
    """Return a date's midnight in UTC, or a time; for the last day, the midnight after it."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment + timedelta(days=1) if whole_day and len(text) <= len("2026-11-30") else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f'{option} "{shown(text, 40)}" is not a valid date', advice="Use one such as 2026-11-30, or a time."
        ) from None
