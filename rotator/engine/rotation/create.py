"""Making the replacement: what is asked for, the one attempt, the search after a lost answer, the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rotator.engine.rotation.give_up import Flow
from rotator.errors import Changed, OutcomeUnknown, ProviderError, Refused, ReplacementRejected
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.labels import key_name
from rotator.policy.validity import lifetime
from rotator.ports import FetchedKey, KeyRequest
from rotator.telemetry.audit import change

LOOK_UP_WAITS = (0.0, 2.0, 5.0)
"""Seconds before each look for a key whose creation got no answer."""


@dataclass(slots=True)
class Creation:
    """Makes one key for one secret."""

    flow: Flow
    entry: SecretEntry
    spec: Spec
    old: Key | None

    def make(self, version_id: str) -> tuple[FetchedKey, str, KeyRequest]:
        """Create the key and compare it with what was asked.

        :returns: the key, the version id that its name says, and the request.
        :raises RotatorError: nothing usable was made; what was made is revoked, or an orphan with a name.
        """
        request = self.request(version_id)
        self.flow.begun = self.flow.looked = self.flow.now()
        if not self.flow.context.use_create():
            raise Changed(f"today's creates are used up, {self.entry.name} waits", advice="The next sweep goes on.")
        try:
            fetched = self._create(request, version_id)
        except OutcomeUnknown as error:
            fetched, version_id, request = self._recover(request, version_id, error)
        self.flow.own = True
        self.compare(fetched.key, request, version_id)
        return fetched, version_id, request

    def request(self, version_id: str) -> KeyRequest:
        """What the replacement shall be: the old key's rights, or the tagged scopes.

        :raises Refused: the scopes are not known, and Infobip would hand out every scope.
        """
        platform = self.old.platform if self.old else frozenset()
        scopes = self.spec.scopes or (self.old.scopes if self.old else None) or frozenset()
        if platform:
            scopes = frozenset()
        elif not scopes:
            raise Refused(
                f"{self.entry.name}: the old key's scopes are not known, and a key made without any gets every scope",
                advice="Tag the secret rotator:scopes.",
            )
        return KeyRequest(
            name=key_name(self.entry.name, self.entry.arn, self.flow.context.services.policy.deployment, version_id),
            valid_to=(self.flow.now() + lifetime(self.spec, self.entry.name)).replace(microsecond=0),
            scopes=scopes,
            permissions=frozenset() if platform or self.old is None else self.old.permissions or frozenset(),
            allowed_ips=self.old.allowed_ips if self.old else frozenset(),
            platform=platform,
            account_id=(self.old.account_id if self.old else None) or self.flow.context.provider.account_id,
        )

    def _create(self, request: KeyRequest, version_id: str) -> FetchedKey:
        with change(
            self.flow.context.services.audit, "key.created", **self.flow.fields(self.entry, version_id, None)
        ) as out:
            fetched = self.flow.context.provider.create_key(request)
            out["key_id"] = fetched.key.id
            if fetched.key.id in self.flow.context.snapshot.keys:
                # What the answer shows is a key that was there before: whose value came with it can't be told.
                raise OutcomeUnknown(f"Infobip answered the creation of {request.name} with an older key's id")
        return fetched

    def _recover(
        self, request: KeyRequest, version_id: str, error: OutcomeUnknown
    ) -> tuple[FetchedKey, str, KeyRequest]:
        """After a lost answer: look for the name; adopt what can be read, else revoke it and make another.

        Nothing found is no proof (it may arrive late): then the rotation fails and the next sweep decides.
        """
        found: tuple[Key, ...] = ()
        for wait in LOOK_UP_WAITS:
            self.flow.context.services.clock.sleep(wait)
            try:
                found = self.flow.context.provider.find_by_name(request.name)
            except ProviderError:
                raise error from None
            if found:
                break
        if not found:
            raise error
        for key in found:
            fetched = self.flow.context.provider.get_key(key.id)
            if fetched.value is not None:
                fields = self.flow.fields(self.entry, version_id, key.id)
                self.flow.context.services.audit.emit("key.created", "success", **fields, detail="found by its name")
                return fetched, version_id, request
        for key in found:
            self.flow.revoke_own(self.entry, key.id, version_id)
        if not self.flow.context.use_create():
            raise error
        version_id = self.flow.context.services.new_version_id()
        request = self.request(version_id)
        return self._create(request, version_id), version_id, request

    def compare(
        self, key: Key, request: KeyRequest, version_id: str, *, resumed: bool = False, staged: bool = False
    ) -> None:
        """Field by field: a replacement that may do more, or less, is never promoted.

        :param staged: it is stored and was proven to belong to its version, so its name may be another one.
        """
        differences = differing_fields(key, request, compare_end=not resumed)
        if staged and "name" in differences:
            differences.remove("name")
        if not key.begun(self.flow.now()):
            differences.append("validFrom")
        if not key.enabled:
            differences.append("enabled")
        if not differences:
            return
        what = ", ".join(differences)
        error = f"key {key.id} differs from what was asked in: {what}"
        self.flow.context.services.audit.emit(
            "key.rejected",
            "failure",
            **self.flow.fields(self.entry, version_id, key.id),
            error=f"ReplacementRejected: {error}",
        )
        self.flow.give_up(self.entry, key.id, version_id, staged=staged)
        raise ReplacementRejected(
            f"the replacement for {self.entry.name} was rejected and revoked: {error}",
            advice="Compare the user's own rights and the account's settings at Infobip with the old key.",
        )


def differing_fields(key: Key, request: KeyRequest, *, compare_end: bool = True) -> list[str]:
    """The names of the fields in which a key is not what was asked for."""
    differences = []
    if key.name != request.name:
        differences.append("name")
    if (key.scopes or frozenset()) != request.scopes:
        differences.append("scopeGuids")
    permissions = key.permissions or frozenset()
    if permissions != request.permissions and not (not request.permissions and permissions <= {"PUBLIC_API"}):
        differences.append("permissions")
    if key.allowed_ips != request.allowed_ips:
        differences.append("allowedIPs")
    if key.platform != request.platform:
        differences.append("platform")
    if request.account_id is not None and key.account_id is not None and key.account_id != request.account_id:
        differences.append("accountId")
    if compare_end and (key.valid_to is None or abs(key.valid_to - request.valid_to) > timedelta(seconds=60)):
        differences.append("validTo")
    return differences
