"""The shape of every ``--json`` document. ``make docs`` writes each as a JSON Schema to ``docs/schemas/``.

Times are UTC to the second, ids whole. A field has ``null`` if it does not apply; only those that are ``NotRequired``
are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NotRequired, TypedDict

from rotator.leaks import Place
from rotator.model import ActionKind, Outcome, Severity
from rotator.policy.key_inventory import KeyKind, SecretRow
from rotator.policy.status import State
from rotator.reasons import Reason

if TYPE_CHECKING:  # else every command would import the engine
    from rotator.engine.emergency import Strategy
    from rotator.engine.emergency.leak_intake import LeakOutcome
    from rotator.engine.emergency.targets import KeyRole
    from rotator.engine.rehearsal.assumptions import Part, Verdict
    from rotator.telemetry.audit_verify import AuditProblem

Time = Annotated[str, "time"]
"""``2026-12-01T10:00:00Z``."""
Date = Annotated[str, "date"]
"""``2026-12-01``."""


class ProblemShape(TypedDict):
    """What went wrong, and what to do."""

    message: str
    advice: str | None


class ErrorDocument(TypedDict):
    """In place of a command's own document, if it failed before it had one."""

    error: ProblemShape


class AccountError(TypedDict):
    """An account that could not be read."""

    account: str
    error: str


class QuotaShape(TypedDict):
    """An account's daily quota. The use is null where it was not counted."""

    creates_used: int | None
    creates_limit: int
    updates_used: int | None
    updates_limit: int
    reserve: int


class OfSecretShape(TypedDict):
    """What is about one secret; its AWS account's id and region only if there is more than one store."""

    aws_account: NotRequired[str]
    region: NotRequired[str]


class ActionShape(OfSecretShape):
    """A change that a sweep makes."""

    kind: ActionKind
    secret: str
    key_id: str | None
    reason: Reason
    due_at: Time
    deadline: Time | None
    version_id: str | None
    detail: str | None


class SkipShape(OfSecretShape):
    """A secret that is skipped."""

    secret: str
    reason: Reason
    detail: str


class AlertShape(OfSecretShape):
    """Something that a person must know."""

    kind: Reason
    secret: str | None
    key_id: str | None
    detail: str
    severity: Severity


class AccountPlanShape(TypedDict):
    """One account: actions in the order in which they are done."""

    account: str
    quota: QuotaShape
    actions: list[ActionShape]
    skipped: list[SkipShape]
    alerts: list[AlertShape]
    error: NotRequired[str]


class PlanDocument(TypedDict):
    """``plan``."""

    generated_at: Time
    accounts: list[AccountPlanShape]


class ResultShape(ActionShape):
    """An action and its outcome."""

    outcome: Outcome
    error: str | None
    new_key_id: NotRequired[str]
    new_version_id: NotRequired[str]


class AccountResultShape(ResultShape):
    """An action, its outcome and its account."""

    account: str


class SweptAccount(AccountPlanShape):
    """One account of a sweep."""

    results: list[ResultShape]


class ResultsDocument(TypedDict):
    """``rotate``, ``adopt``."""

    results: list[AccountResultShape]


class SweepDocument(TypedDict):
    """``run``: the plan with its results, by account and all together."""

    generated_at: Time
    accounts: list[SweptAccount]
    results: list[AccountResultShape]


class RetiringShape(TypedDict):
    """A key in its grace period."""

    key_id: str
    revoke_at: Time


class SecretStateShape(OfSecretShape):
    """One managed secret."""

    account: str
    secret: str
    key_id: str | None
    version_id: str | None
    state: State
    expires_at: Time | None
    days_left: float | None
    next_action: ActionKind | None
    next_action_at: Time | None
    hold: str | None
    overdue: bool
    retiring: list[RetiringShape]


class StatusDocument(TypedDict):
    """``status``."""

    secrets: list[SecretStateShape]
    errors: NotRequired[list[AccountError]]


class EmergencyStepShape(OfSecretShape):
    """A new key that was promoted, or would be."""

    account: str
    secret: str | None
    key_id: str | None
    outcome: str
    error: str | None
    detail: str | None
    seconds: float


class EmergencyKeyShape(EmergencyStepShape):
    """A key that was revoked, or would be."""

    role: KeyRole
    verified: bool | None
    version_id: str | None
    revoke_at: Time | None


class LeakShape(TypedDict):
    """One leaked value and its outcome."""

    outcome: LeakOutcome
    account: str | None
    key_id: str | None
    secret: str | None
    places: list[Place]
    more_places: int
    detail: str | None


class RevokeDocument(TypedDict):
    """``revoke``; the fields from ``findings`` on only with ``--leaked-key-stdin``."""

    strategy: Strategy
    incident: str | None
    dry_run: bool
    keys: list[EmergencyKeyShape]
    replacements: list[EmergencyStepShape]
    errors: list[str]
    notes: list[str]
    run_id: str
    findings: NotRequired[int | None]
    without_infobip_key: NotRequired[int]
    unusable: NotRequired[list[Place]]
    leaks: NotRequired[list[LeakShape]]


class RetiredKey(TypedDict):
    """The newer key after a rollback."""

    key_id: str | None
    version_id: str | None
    revoke_at: Time | None


class DueShape(TypedDict):
    """Why the next sweep rotates the key again, and what that waits for."""

    reason: Reason
    detail: str
    waits: str | None


class RollbackDocument(TypedDict):
    """``rollback``."""

    account: str
    secret: str
    key_id: str
    version_id: str
    expires_at: Time | None
    retired: RetiredKey
    due: DueShape | None
    next_rotation_at: Time | None
    changed_fields: list[str]
    already: bool
    dry_run: bool


class ForecastDayShape(TypedDict):
    """One day."""

    date: Date
    rotations: int
    scheduled_early: int
    revocations: int
    waiting: int
    overdue: int
    free: int


class AtRiskShape(OfSecretShape):
    """A key that expires before it is replaced."""

    secret: str
    key_id: str | None
    expires_at: Time
    reason: Reason
    too_late_from: Time
    replaced_at: Time | None


class AccountForecastShape(TypedDict):
    """One account."""

    account: str
    limit: int
    reserve: int
    per_day: int
    secrets: int
    days: list[ForecastDayShape]
    first_full_day: Date | None
    at_risk: list[AtRiskShape]
    verdict: str


class ForecastDocument(TypedDict):
    """``forecast``."""

    generated_at: Time
    accounts: list[AccountForecastShape]
    errors: NotRequired[list[AccountError]]


class KeyShape(TypedDict):
    """One key of an account."""

    key_id: str
    name: str
    kind: KeyKind
    secrets: list[str]
    enabled: bool
    valid_from: Time | None
    expires_at: Time | None
    revoke_at: Time | None
    detail: str | None


class AccountInventory(TypedDict):
    """One account; ``complete``: Infobip's list is known to contain every key."""

    account: str
    complete: bool
    disabled_not_shown: int
    keys: list[KeyShape]
    secrets: list[SecretRow]


class InventoryDocument(TypedDict):
    """``inventory``."""

    generated_at: Time
    accounts: list[AccountInventory]
    errors: list[AccountError]


class OldKey(TypedDict):
    """The key in its grace period."""

    key_id: str
    replaced_at: Time | None
    revoke_at: Time
    waits_until: Time | None


class ConsumerShape(TypedDict):
    """A principal that read the secret."""

    principal: str
    last_read_before: Time | None
    last_read_since: Time | None
    last_read_of_old_version_since: Time | None
    last_read: Time | None
    waited_for: bool


class ConsumersDocument(TypedDict):
    """``consumers``."""

    account: str
    secret: str
    gate: str | None
    retiring: OldKey | None
    days: int
    known_from: Time | None
    known_until: Time | None
    gap: str | None
    consumers: list[ConsumerShape]


class CheckShape(TypedDict):
    """One check; ``level`` is ``ok``, ``warn`` or ``fail``."""

    level: str
    subject: str
    detail: str
    fix: str | None


class DoctorDocument(TypedDict):
    """``doctor``."""

    checks: list[CheckShape]
    failed: int
    warnings: int


class ReportDocument(TypedDict):
    """``report``: the file that was written."""

    file: str
    bytes: int
    accounts: int
    secrets: int
    errors: NotRequired[list[AccountError]]


class EvidenceDocument(TypedDict):
    """``evidence``: the pack that was written. ``rows`` counts each table's lines."""

    folder: str
    rows: dict[str, int]
    sources: int
    chain_intact: bool
    gaps: int
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


class AuditDocument(TypedDict):
    """``audit verify``."""

    file: str
    ok: bool
    lines: int
    audit_lines: int
    runs: int
    open_runs: list[str]
    unlinked_runs: list[str]
    problem_count: int
    problems: list[AuditProblem]


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


class DemoAudit(TypedDict):
    """The demo's audit file."""

    file: str
    verified: bool
    lines: int
    runs: int
    runs_not_ended: int
    problems: int


class DemoDocument(TypedDict):
    """``demo``. ``evidence``: the folder of the pack for an auditor."""

    ok: bool
    ended_at: Time
    score: dict[str, int]
    secrets: list[SecretStateShape]
    audit: DemoAudit
    evidence: str


class SandboxDocument(TypedDict):
    """``sandbox``: the environment to use it."""

    environment: dict[str, str]


class ServeDocument(TypedDict):
    """``serve``, once at the start."""

    schedule: str
    jitter_seconds: float
    url: str | None


class CompletionDocument(TypedDict):
    """``completion``."""

    shell: str
    script: str


DOCUMENTS: Final = {
    "adopt": (ResultsDocument,),
    "audit verify": (AuditDocument,),
    "completion": (CompletionDocument,),
    "consumers": (ConsumersDocument,),
    "demo": (DemoDocument,),
    "doctor": (DoctorDocument,),
    "evidence": (EvidenceDocument, EvidenceVerifyDocument),
    "forecast": (ForecastDocument,),
    "inventory": (InventoryDocument,),
    "plan": (PlanDocument,),
    "rehearse": (RehearseDocument, CleanDocument),
    "report": (ReportDocument,),
    "revoke": (RevokeDocument,),
    "rollback": (RollbackDocument,),
    "rotate": (ResultsDocument, PlanDocument),
    "run": (SweepDocument,),
    "sandbox": (SandboxDocument,),
    "serve": (ServeDocument,),
    "status": (StatusDocument,),
}
"""Each command's documents, besides :class:`ErrorDocument`."""
