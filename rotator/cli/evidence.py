"""``rotator evidence``: what an assessor samples, for a period."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import click
from rich.console import RenderableType

from rotator.bootstrap import make_evidence_sources
from rotator.cli.call import Call
from rotator.cli.documents import Document, errors_field, fields
from rotator.cli.options import command
from rotator.errors import ConfigurationError
from rotator.evidence import pack
from rotator.evidence.gather import write_pack
from rotator.evidence.history import History, Lines, open_lines
from rotator.render import Grid, counted, shown, styled

_LONGEST: Final = timedelta(days=3660)


@command
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

    Exits 1 if an account can't be read, the audit trail has missing or altered
    lines, or a file or the signature differs.

    \b
    Examples:
      rotator evidence --from 2026-09-01 --to 2026-11-30 -o evidence
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
    return _write(call, first, last, Path(folder), files, group, kms_key, owner_tag)


def _write(
    call: Call,
    begin: datetime,
    end: datetime,
    folder: Path,
    files: tuple[str, ...],
    group: str | None,
    kms_key: str | None,
    owner_tag: str,
) -> int:
    opened: list[tuple[str, BinaryIO]] = [(name, open_lines(Path(name))) for name in files]
    for _, file in opened:
        call.closing.callback(file.close)
    app = call.open()
    logs, signer, trail = make_evidence_sources(app)
    key, algorithm = signer.key(kms_key) if kms_key else (None, "")
    if group:
        opened.append((group, cast(BinaryIO, Lines(logs.lines(group, begin, end)))))
    history = History(app.settings.deployment, begin, end)
    pack.check_folder(folder)
    days = (end - begin).days + 1
    with click.progressbar(length=days, label="audit lines", file=sys.stderr, hidden=not call.is_live) as bar:
        for name, file in opened:
            history.read(name, file, lambda at: bar.update(max(0, min((at - begin).days, days) - bar.pos)))
    pack.check_folder(folder, create=True)
    manifest, rows, broken = write_pack(
        app.services,
        history,
        folder,
        app.redactor.redact_own,
        owner_tag=owner_tag,
        writers=trail.writers,
        signed_by=key,
        sign=None
        if key is None
        else lambda data: {
            "key": key,
            "algorithm": algorithm,
            "signature": signer.sign(hashlib.sha256(data).digest(), key, algorithm),
        },
    )
    problems, gaps = manifest["chain"]["problem_count"], manifest["gap_count"]
    document: Document = {
        "folder": str(folder),
        "rows": {name: len(each) for name, each in rows.items()},
        "sources": len(manifest["sources"]),
        "chain_intact": not problems,
        "gaps": gaps,
        "signed_by": key,
    }
    call.result(document | errors_field(broken), _parts(folder, manifest, rows))
    return 1 if broken or problems else 0


def _parts(folder: Path, manifest: dict[str, Any], rows: dict[str, Any]) -> Iterator[RenderableType]:
    yield Grid([(f"{len(each):>6,}", name) for name, each in rows.items()], (7,))
    yield ""
    problems = manifest["chain"]["problem_count"]
    if problems:
        text = f"The audit trail is NOT intact: {counted(problems, 'problem')}; manifest.json lists them."
        yield styled(text, "red")
    if not manifest["sources"]:
        yield styled("No audit lines were read. Add --audit or --log-group.", "yellow")
    elif manifest["gap_count"]:
        yield styled(
            f"{counted(manifest['gap_count'], 'part')} of the period without lines; see summary.html.", "yellow"
        )
    for note in manifest["notes"]:
        yield shown(note)
    yield f"Wrote {shown(str(folder))}. Open summary.html in a browser."


def _verify(call: Call, folder: Path, kms_key: str | None) -> int:
    data, manifest = pack.read_pack(folder)
    found, unlisted = pack.differences(folder, manifest)
    signed_by = manifest.get("signed_by")
    if signed_by is not None or kms_key:
        signature = pack.read_signature(folder)
        _, signer, _ = make_evidence_sources(call.open())
        key = signer.key(kms_key)[0] if kms_key else str(signature.get("key", ""))
        if not signature or not key == signed_by == signature["key"]:
            found.append(pack.Difference(pack.SIGNATURE, "is missing, or another key signed the manifest"))
        elif not signer.verify(hashlib.sha256(data).digest(), key, signature["algorithm"], signature["signature"]):
            found.append(pack.Difference(pack.MANIFEST, "was changed: its signature is not valid"))
    document = {
        "folder": str(folder),
        "ok": not found,
        "differences": [fields(each, "file", "detail") for each in found],
        "unlisted": unlisted,
        "signed_by": signed_by if isinstance(signed_by, str) else None,
    }
    call.result(document, _verified_parts(folder, found, unlisted, document["signed_by"]))
    return 1 if found else 0


def _verified_parts(
    folder: Path, found: list[pack.Difference], unlisted: list[str], signed_by: object
) -> Iterator[RenderableType]:
    for each in found:
        yield styled(f"{shown(each.file)}: {shown(each.detail)}", "red")
    for name in unlisted:
        yield f"{shown(name)} is not part of the pack, so nothing is known of it."
    by = f"signed by {shown(str(signed_by))}" if signed_by else "not signed"
    yield f"{shown(str(folder))} {'DIFFERS from' if found else 'equals'} its manifest ({by})."


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
