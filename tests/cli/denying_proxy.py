"""A proxy before moto that denies: operations are denied, and STS and IAM answer as for a role."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

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

    def answer(self, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        if target:
            operation = target.rpartition(".")[2]
            if operation in self.denied:
                said = {"__type": "AccessDeniedException", "Message": "is not authorized to perform"}
                return 400, json.dumps(said).encode(), "application/x-amz-json-1.1"
            return self._pass_on(headers, body)
        fields = parse_qs(body.decode())
        action = fields["Action"][0]
        if action in self.pages:
            return self.pages[action]
        if action in self.denied:
            return 403, _DENIED.encode(), "text/xml"
        if action == "GetCallerIdentity":
            return 200, _IDENTITY.format(arn=ROLE).encode(), "text/xml"
        self.asked.append(fields)
        members = "".join(_MEMBER.format(action=name, decision=text) for name, text in self.decisions.items())
        return 200, _SIMULATED.format(members=members).encode(), "text/xml"

    def _pass_on(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        kept = {name: text for name, text in headers.items() if name.lower() not in ("host", "content-length")}
        request = urllib.request.Request(self.behind, data=body, headers=kept, method="POST")  # noqa: S310 - loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return response.status, response.read(), "application/x-amz-json-1.1"
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), "application/x-amz-json-1.1"


@contextmanager
def serve_proxy(proxy: DenyingProxy) -> Iterator[DenyingProxy]:
    """Listen on a free port, which ``proxy.url`` names."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text, kind = proxy.answer(self.headers.get("X-Amz-Target", ""), dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
