"""The AWS actions of each function, in one place: what the code calls, and what the Lambda service calls in its name.

``test_recorded_actions`` records the calls and compares them with these; ``test_policies`` does so with the policies.
"""

from __future__ import annotations

from typing import Final

FUNCTIONS: Final = ("sweep", "worker", "revoke", "rotation")

ANY: Final = "*"
MANAGEMENT: Final = "management"
KEY: Final = "key"
QUEUE: Final = "queue"
BUS: Final = "bus"

_FIND: Final = {("secretsmanager:ListSecrets", ANY), ("secretsmanager:GetSecretValue", MANAGEMENT)}
_READ: Final = _FIND | {("secretsmanager:GetSecretValue", KEY)}
_CHANGE: Final = _READ | {
    ("secretsmanager:DescribeSecret", KEY),
    ("secretsmanager:ListSecretVersionIds", KEY),
    ("secretsmanager:PutSecretValue", KEY),
    ("secretsmanager:UpdateSecretVersionStage", KEY),
    ("events:PutEvents", BUS),
}
# Before a key is revoked, every managed secret is searched for it; a plan does the same.
_BATCH: Final = {("secretsmanager:BatchGetSecretValue", ANY)}
# Where a secret's tag asks for it: plans look too.
_TRAIL: Final = {("cloudtrail:LookupEvents", ANY)}

CALLED: Final[dict[str, frozenset[tuple[str, str]]]] = {
    "sweep": frozenset(_READ | _BATCH | _TRAIL | {("sqs:SendMessage", QUEUE), ("secretsmanager:DescribeSecret", ANY)}),
    "worker": frozenset(_CHANGE | _BATCH | _TRAIL),
    "revoke": frozenset(_CHANGE | _BATCH),
    "rotation": frozenset(_CHANGE),
}
"""By function: IAM action, and what it is done to (a secret of that role, the queue, the event bus)."""

STORE: Final = "store"
STORES: Final = {name: frozenset({("sts:AssumeRole", STORE)} if name != "rotation" else ()) for name in FUNCTIONS}
"""By function: what they call as well if some secrets are in other AWS accounts."""

_LOGS: Final = {"logs:CreateLogStream", "logs:PutLogEvents"}
_TRACES: Final = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
SERVICE: Final[dict[str, frozenset[str]]] = {
    "sweep": frozenset(_LOGS | _TRACES | {"kms:Decrypt"}),
    "worker": frozenset(
        _LOGS
        | _TRACES
        | {"kms:Decrypt", "kms:GenerateDataKey"}
        | {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    ),
    "revoke": frozenset(_LOGS | _TRACES | {"kms:Decrypt", "kms:GenerateDataKey"}),
    "rotation": frozenset(_LOGS | _TRACES | {"kms:Decrypt", "kms:GenerateDataKey"}),
}
"""By function: what AWS does in the role's name and no code of ours calls: logs, traces, the queue's polling, KMS."""
