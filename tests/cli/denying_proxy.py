"""A proxy before moto that denies: operations are denied, and STS and IAM answer as for a role."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.post_server import JSON, forward, serve_posts

ROLE = "arn:aws:sts::123456789012:assumed-role/rotator-sweep/session"
_IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>{arn}</Arn><UserId>X</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""
_DENIED = """<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>
</ErrorResponse>"""
_SIMULATED = """<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{members}</EvaluationResults>
</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"""
_MEMBER = """<member><EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>
<EvalDecision>{decision}</EvalDecision></member>"""


def simulated(decisions: Mapping[str, str]) -> str:
    """The simulator's response, by action."""
    members = "".join(_MEMBER.format(action=name, decision=text) for name, text in decisions.items())
    return _SIMULATED.format(members=members)


@dataclass
class DenyingProxy:
    """What is denied.

    :param behind: moto's URL.
    :param denied: operations of Secrets Manager, and ``GetCallerIdentity`` or ``SimulatePrincipalPolicy``.
    :param decisions: what the simulator says, by action.
    :param pages: what something that is not AWS answers in its place, by operation: status, body and content type.
    :param asked: parameters of each call of the simulator.
    """

    behind: str
    denied: set[str] = field(default_factory=set)
    decisions: dict[str, str] = field(default_factory=dict)
    pages: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation in self.denied:
            denial = {"__type": "AccessDeniedException", "Message": "is not authorized to perform"}
            return 400, json.dumps(denial).encode(), JSON
        if operation:
            return forward(self.behind, path, headers, body)
        fields = parse_qs(body.decode())
        action = fields["Action"][0]
        if action in self.pages:
            return self.pages[action]
        if action in self.denied:
            return 403, _DENIED.encode(), "text/xml"
        if action == "GetCallerIdentity":
            return 200, _IDENTITY.format(arn=ROLE).encode(), "text/xml"
        self.asked.append(fields)
        return 200, simulated(self.decisions).encode(), "text/xml"


@contextmanager
def serve_proxy(proxy: DenyingProxy) -> Iterator[DenyingProxy]:
    """Listen on a free port, which ``proxy.url`` names."""
    with serve_posts(proxy.answer) as proxy.url:
        yield proxy
