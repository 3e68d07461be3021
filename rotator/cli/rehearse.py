"""``rotator rehearse``: what the rotator assumes, tried on the real services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import click
from rich.console import RenderableType

from rotator import __version__
from rotator.bootstrap import make_rehearsal
from rotator.cli.call import EXIT_NOT_CONFIRMED, Call
from rotator.cli.documents import Document, fields, shaped
from rotator.cli.options import command
from rotator.engine.rehearsal import Leftovers, Rehearsal, RehearsalPlan, RehearsalReport
from rotator.engine.rehearsal.assumptions import DEFAULT_PARTS, CheckedAssumption, Part, Verdict
from rotator.errors import ConfigurationError
from rotator.render import Grid, counted, shown, styled
from rotator.report.files import check_target, write_page

_STYLES: Final = {Verdict.HOLDS: "green", Verdict.DIFFERS: "red", Verdict.UNTESTED: "yellow"}
_WIDTHS: Final = (19, 11)


class Cost(TypedDict):
    """What a rehearsal costs of the day's limits, and how long it takes."""

    creates: int
    updates: int
    seconds: int
    creates_used: int | None
    updates_used: int | None
    daily_limit: int
    reserve: int


class LeftoversShape(TypedDict):
    """What earlier rehearsals left: secrets by name, keys by id."""

    secrets: list[str]
    keys: list[str]


class RowShape(TypedDict):
    """An assumption, whether it holds, and what failed while it was tested."""

    id: str
    part: Part
    assumption: str
    needed: bool
    verdict: Verdict
    seen: str | None
    means: str | None
    error: str | None


class RehearseDocument(TypedDict):
    """``rehearse``; the fields from ``rows`` on only with ``--yes``."""

    account: str
    secret: str
    scopes: list[str]
    parts: list[Part]
    cost: Cost
    leftovers: LeftoversShape
    dry_run: bool
    rows: NotRequired[list[RowShape]]
    creates: NotRequired[int]
    updates: NotRequired[int]
    left: NotRequired[list[str]]
    error: NotRequired[str | None]


class CleanDocument(LeftoversShape):
    """``rehearse --clean``: what was found, and what is left of it."""

    left: list[str]


@command(RehearseDocument, CleanDocument)
@click.option("--account", metavar="A", required=True, help="Infobip account to rehearse on; best a sub-account.")
@click.option("--scopes", metavar="S", help="Scopes of the test keys, separated by spaces.")
@click.option("--yes", is_flag=True, help="Carry it out. Without it, only show the plan and exit 2.")
@click.option(
    "--only",
    "parts",
    multiple=True,
    type=click.Choice([str(part) for part in Part]),
    help="Run only this part; repeatable. Logins other than the configured one run only if named here.",
)
@click.option("--clean", is_flag=True, help="Remove what earlier rehearsals left; run nothing.")
@click.option("-o", "--output", "file", metavar="FILE", help="Also write the results without ids and names, to share.")
def rehearse(
    call: Call, account: str, scopes: str | None, yes: bool, parts: tuple[str, ...], clean: bool, file: str | None
) -> int:
    """Try on the account's real services what the rotator assumes of them.

    Creates a secret named rotator/rehearsal/… and test keys with the given
    scopes, checks each assumption, rotates, rolls back and revokes once, then
    disables the keys and deletes the secret. Nothing else is changed.
    docs/rehearsal.md lists the assumptions.

    Exits 1 if an assumption that the rotator needs does not hold, or something
    could not be removed.

    \b
    Examples:
      rotator rehearse --account main --scopes "sms:message:send"
      rotator rehearse --account main --scopes "sms:message:send" --yes
      rotator rehearse --clean --account main
    """
    if clean and (scopes or parts or file or yes):
        raise ConfigurationError("--clean can only be used with --account", advice="Remove the other options.")
    chosen = tuple(part for part in Part if str(part) in parts) or DEFAULT_PARTS
    needs_keys = Part.INFOBIP in chosen or Part.FLOW in chosen
    if not clean and needs_keys and not (scopes or "").split():
        raise ConfigurationError(
            "no scopes given", advice='Add --scopes "…": the test keys get these scopes and no others.'
        )
    target = None if file is None else check_target(Path(file))
    rehearsal = make_rehearsal(call.open(), account)
    again = f"rotator rehearse --clean --account {account}"
    if clean:
        return _clean(call, rehearsal)
    plan = rehearsal.plan((scopes or "").split(), chosen)
    if not yes:
        call.result({**_plan_document(plan), "dry_run": True}, _plan_parts(plan))
        return EXIT_NOT_CONFIRMED
    call.interrupted = f"interrupted. To remove what is left: `{again}`."
    call.text(*_plan_parts(plan, confirmed=True))
    report = rehearsal.run(plan, lambda row: call.text(_row(row)))
    if call.json:
        call.document(
            {
                **_plan_document(plan),
                "dry_run": False,
                "rows": [{**_row_document(row), "error": row.error or None} for row in report.rows],
                **fields(report, "creates", "updates", "left", "error"),
            }
        )
    if target is not None:
        write_page(target, json.dumps(facts_document(report), indent=2) + "\n")
    call.text(*_end_parts(report, again, partial=not {*DEFAULT_PARTS} <= {*chosen}))
    return 0 if report.ok else 1


def facts_document(report: RehearsalReport) -> Document:
    """``-o FILE``: the facts without ids, hosts and names, to be sent with an issue."""
    return {"version": __version__, "rows": [_row_document(row) for row in report.rows]}


def _row_document(row: CheckedAssumption) -> Document:
    return {
        **fields(row.assumption, "id", "part", "needed"),
        "assumption": row.assumption.text,
        "verdict": str(row.verdict),
        "seen": row.seen or None,
        "means": row.assumption.means if row.verdict is Verdict.DIFFERS else None,
    }


def _plan_document(plan: RehearsalPlan) -> Document:
    used = fields(plan.quota, "creates_used", "updates_used", "reserve")
    cost = shaped(Cost, plan, daily_limit=plan.quota.creates_limit, **used)
    named = fields(plan, "account", "secret", "scopes", "parts")
    return {**named, "cost": cost, "leftovers": _found(plan.leftovers)}


def _found(found: Leftovers) -> Document:
    return {"secrets": [entry.name for entry in found.secrets], "keys": [key.id for key in found.keys]}


def _plan_parts(plan: RehearsalPlan, *, confirmed: bool = False) -> Iterator[RenderableType]:
    yield f"Rehearsal on account {shown(plan.account)}: {', '.join(map(str, plan.parts))}"
    quota, limit = plan.quota, plan.quota.creates_limit
    rows = [
        ("secret", plan.secret + ", deleted at the end"),
        ("scopes", ", ".join(plan.scopes) or "none"),
        ("creates", f"{plan.creates} of {limit} per day; {_used(quota.creates_used)}, {quota.reserve} reserved"),
        ("updates", f"about {plan.updates} of {limit} per day; {_used(quota.updates_used)}"),
        ("duration", f"about {plan.seconds} s; longer if the account is slow to apply changes"),
    ]
    yield Grid([(f"  {name}", shown(text)) for name, text in rows], (12,))
    if plan.leftovers:
        count = [counted(len(plan.leftovers.secrets), "secret"), counted(len(plan.leftovers.keys), "enabled key")]
        yield f"Another rehearsal is running, or was interrupted: it has {' and '.join(count)}."
    if not confirmed:
        yield "Nothing was changed. Add --yes to carry it out."


def _used(count: int | None) -> str:
    return "use unknown" if count is None else f"{count} used"


def _row(row: CheckedAssumption) -> RenderableType:
    needed = "needed" if row.assumption.needed else "informative"
    text = shown(row.assumption.text) + (f" ({shown(row.seen)})" if row.seen else "")
    if row.error:
        text += f"\n{shown(row.error, 400)}"
    if row.verdict is Verdict.DIFFERS:
        text += f"\n→ {shown(row.assumption.means)}"
    verdict = styled(f"{row.verdict:<{_WIDTHS[0]}}", _STYLES[row.verdict])
    return Grid([(verdict, f"{needed:<{_WIDTHS[1]}}", text)], _WIDTHS)


def _end_parts(report: RehearsalReport, again: str, *, partial: bool) -> Iterator[RenderableType]:
    broken = [row for row in report.rows if row.breaks]
    untested = [row for row in report.rows if row.verdict is Verdict.UNTESTED and row.assumption.needed]
    for error in filter(None, (report.error, *report.left)):
        yield styled(shown(error, 400), "red")
    if report.left:
        yield f"To remove what is left: {again}"
    informative = sum(row.verdict is Verdict.DIFFERS and not row.breaks for row in report.rows)
    used = f"Used {counted(report.creates, 'create')} and {counted(report.updates, 'update')}."
    used = f"Informative differences: {informative}. {used}" if informative else used
    if broken:
        yield f"{counted(len(broken), 'needed assumption')} differ: do not go live on this account yet. {used}"
    else:
        where = " where it was tested" if untested else ""
        yield f"Everything that the rotator needs holds{where}{' in these parts' if partial else ''}. {used}"


def _clean(call: Call, rehearsal: Rehearsal) -> int:
    found, left = rehearsal.clean()
    document = {**_found(found), "left": list(left)}
    secrets, keys = counted(len(found.secrets), "secret"), counted(len(found.keys), "key")
    lines = [styled(shown(each, 400), "red") for each in left]
    summary = f"Found {secrets} and {keys} of rehearsals{'; removed them' if found and not left else ''}."
    call.result(document, [*lines, summary])
    return 1 if left else 0
