"""Infobip's key-management API for one account: the :class:`~rotator.ports.KeyProvider` that talks HTTP."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from requests.adapters import HTTPAdapter

from rotator.errors import (
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    MissingRole,
    OutcomeUnknown,
    ProviderError,
    ProviderThrottled,
    ProviderUnavailable,
)
from rotator.infobip.auth import ApiKeyAuth, management_auth
from rotator.infobip.connection import DeadlineAdapter
from rotator.infobip.credentials import Credentials
from rotator.infobip.http import Answer, ApiCall, Effort, Transport
from rotator.infobip.listing import PAGE_SIZE, list_all
from rotator.infobip.wire import Page, create_body, parse_key, parse_page, refusal, revoke_body
from rotator.key_format import contains_value, is_key_id, random_value
from rotator.model import Key
from rotator.patience import Patience
from rotator.ports import Clock, FetchedKey, KeyListing, KeyRequest, Probe, ProbeVerdict
from rotator.redaction.patterns import redact_key_values
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret
from rotator.text import quoted

KEYS_PATH: Final = "/settings/2/api-keys"
LATER: Final = timedelta(minutes=5)
"""How much the clocks may differ: an expiry this far in our future is also in Infobip's future."""
_TEMPORARY: Final = frozenset({407, 408, 421, 425, 429})  # 4xx statuses that may be temporary
_PROBE_PATH: Final = re.compile(r"/[!-\"$-\[\]-~]*")  # printable ASCII without '#' and '\', so it stays on this host


class InfobipClient:
    """One account's keys. Thread safe. Close it, or an IBSSO session stays open for up to an hour.

    :param redactor: learns every secret text that is used or received, and spares the ids of listed keys. Values in
        lists are discarded, so it does not learn them.
    :param rng: jitter of the waits between attempts.
    :param unsafe_sessions: IBSSO sessions that are not bound to this machine's address.
    :param fall_back_to_basic: use Basic with the same credentials if a login fails (set in an emergency).
    :param adapters: makes the ``requests`` adapters, such as those of an embedded sandbox.
    :raises ConfigurationError: the environment names certificates that do not exist.
    """

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        *,
        redactor: Redactor | None = None,
        rng: random.Random | None = None,
        unsafe_sessions: bool = False,
        fall_back_to_basic: bool = False,
        patience: Patience | None = None,
        adapters: Callable[[], HTTPAdapter] = DeadlineAdapter,
    ) -> None:
        self._redactor = redactor or Redactor()
        self._account = credentials.account_id
        rng = rng or random.Random()  # noqa: S311 -- jitter, nothing secret
        self._transport = Transport(credentials.base_url, clock, rng, patience or Patience(), adapters)
        self._value_filter_works = False
        self._auth = management_auth(
            credentials,
            self._transport,
            clock,
            self._redactor,
            unsafe_sessions=unsafe_sessions,
            fall_back_to_basic=fall_back_to_basic,
        )

    @property
    def base_url(self) -> str:
        """The account's own URL, without a trailing slash."""
        return self._transport.base_url

    @property
    def account_id(self) -> str | None:
        """The account that the management secret names."""
        return self._account

    @property
    def named_wait(self) -> bool | None:
        """Whether the last 429 named a time to wait; ``None`` if there was none."""
        return self._transport.named_wait

    def list_keys(self, *, enabled: bool | None = None) -> KeyListing:
        """List the keys, with one call per 100 keys."""
        return list_all(self._page, enabled)

    def count_keys(self, *, enabled: bool | None = None) -> int | None:
        """Count the keys with one call."""
        where = {} if enabled is None else {"enabled": str(enabled).lower()}
        return self._page({"page": "0", "size": "1", **where}).total_count

    def find_by_name(self, name: str, account_id: str | None = None, *, exact: bool = True) -> tuple[Key, ...]:
        """Return the keys with exactly this name; Infobip's own filter may match others, which ``exact`` leaves out."""
        where = {"name": name} if account_id is None else {"name": name, "accountId": account_id}
        found = list_all(lambda query: self._page({**query, **where}))
        return tuple(key for key in found.keys if not exact or key.name == name)

    def find_by_value(self, value: Secret, *, alone: bool = False) -> Key | None:
        """Return the key that a value belongs to, or ``None`` if Infobip has no such key.

        A readable value in the response is compared here. A key with a masked value counts only if it is the response's
        only key and Infobip is known to filter by value. That is tested once, when first needed.

        :param alone: for an ownership proof, the response must contain only this key.
        :raises ContractViolation: the response contains other keys, or is inconclusive.
        """
        self._redactor.learn(value.reveal())
        answer = self._search(value)
        found = {each.key.id: each for each in answer.keys}
        possible = [each for each in found.values() if each.value is None or each.value == value]
        if not found and not answer.total_count:
            return None
        whole = len(found) == 1 and answer.total_count in (None, 1)
        if len(possible) == 1 and (whole or not alone) and possible[0].value is not None:
            return possible[0].key
        if whole and possible and self._filters_by_value():
            return possible[0].key
        count = max(len(found), answer.total_count or 0)
        raise ContractViolation(
            f"GET {KEYS_PATH} at {self._transport.host}: key lookup by value was inconclusive "
            f"({count} {'key' if count == 1 else 'keys'}, {len(possible)} of them possible)",
            advice="Nothing was changed. Find the key by its id.",
        )

    def get_key(self, key_id: str) -> FetchedKey:
        """Fetch one key, with its value if the response contains it unmasked.

        :raises KeyNotFound: it is not the account's. A main account's user sees the keys of all its sub-accounts.
        """
        found = self._fetch(key_id)
        if self._account is not None and found.key.account_id not in (None, self._account):
            raise KeyNotFound(
                f"the key {key_id} belongs to the account {quoted(found.key.account_id or '')}",
                advice=f"The management secret names the account {self._account}.",
            )
        return found

    def _fetch(self, key_id: str) -> FetchedKey:
        return self._learnt(parse_key(self._succeed(ApiCall("GET", _key_path(key_id)), key_id), expected_id=key_id))

    def create_key(self, request: KeyRequest) -> FetchedKey:
        """Create a key. The request is sent only once. ``value`` is ``None`` if the response masks it.

        :raises OutcomeUnknown: the response is missing, unreadable or inconclusive; search for the key by name.
        """
        call = ApiCall("POST", KEYS_PATH, body=create_body(request, self._account), effort=Effort.ONCE, write=True)
        try:
            answer = self._transport.call(call, self._auth)
        except OutcomeUnknown as lost:
            doubt = lost.message
        else:
            error: ProviderError
            try:
                if answer.ok:
                    return self._learnt(parse_key(answer, created=True))
                error = refusal(answer, self._redactor)
            except ContractViolation as unreadable:
                error = unreadable
            if not isinstance(error, ProviderUnavailable | ContractViolation):
                raise error
            doubt = error.message
        raise OutcomeUnknown(
            f"{doubt}; the key {quoted(request.name, 300)} may or may not have been created",
            advice="Search for a key with that name before creating another one.",
        )

    def revoke_key(self, key: Key, end: datetime | None) -> None:
        """Disable a key, and set its expiry to ``end`` (whole seconds). Safe to repeat.

        The body names the account that the key was read with: without it, Infobip may refuse the change of a
        sub-account's key, or move the key to the user's own account. No field that Infobip refuses may keep a key
        enabled. So if the expiry is refused (it is in the past), a slightly later one is sent, then none. If that is
        refused with a 4xx other than 401 and 429, the last request names no account either: a disabled key that is
        moved is harmless.

        :raises OutcomeUnknown: the request was sent and may have taken effect, but this could not be confirmed.
        :raises ContractViolation: the response says that the key is still enabled.
        :raises KeyNotFound: every request returned 404.
        """
        account = key.account_id or self._account
        refused: ProviderError | None = None
        for tried in (None,) if end is None else (end, end + LATER, None):
            refused = self._disable(key.id, revoke_body(account, tried))
            if not isinstance(refused, InvalidRequest):
                break
        if refused is not None and account is not None:
            last = self._disable(key.id, revoke_body(None, None))
            refused = refused if isinstance(last, KeyNotFound) else last
        if refused is not None:
            raise refused

    def probe(self, value: Secret, path: str) -> Probe:
        """Use a key once, without any other credentials, in one attempt of at most 10 seconds."""
        if not _PROBE_PATH.fullmatch(path):
            return Probe(ProbeVerdict.INCONCLUSIVE, "not probed: the path leads to another host", lasting=True)
        self._redactor.learn(value.reveal())
        try:
            auth = ApiKeyAuth(value)
        except ValueError:
            return Probe(
                ProbeVerdict.INCONCLUSIVE, "not probed: the value contains characters that HTTP headers do not allow"
            )
        try:
            call = ApiCall("GET", path, effort=Effort.ONCE, quick=True, read_body=False)
            status = self._transport.call(call, auth).status
        except ProviderError as error:
            return Probe(ProbeVerdict.INCONCLUSIVE, error.message)
        if status == 403:
            return Probe(ProbeVerdict.AUTHENTICATES, "authenticated (403: no scope for this endpoint)")
        if 200 <= status < 300:
            return Probe(ProbeVerdict.AUTHENTICATES, f"HTTP {status}")
        if status == 401:
            return Probe(ProbeVerdict.REJECTED, f"HTTP {status}")
        lasting = 400 <= status < 500 and status not in _TEMPORARY
        return Probe(ProbeVerdict.INCONCLUSIVE, f"HTTP {status}", lasting=lasting)

    def skew(self) -> timedelta | None:
        """Return the clock difference, from the ``Date`` of the last management response."""
        return self._transport.skew

    def close(self) -> None:
        """End the session, if there is one, and the connections."""
        self._auth.close()
        self._transport.close()

    def _search(self, value: Secret) -> Page:
        return self._page({"page": "0", "size": str(PAGE_SIZE)}, value)

    def _filters_by_value(self) -> bool:
        """Whether Infobip filters by value, that is, finds no key for a random value.

        Otherwise an account's only key, masked, would match every search.
        """
        if not self._value_filter_works:
            answer = self._search(Secret(random_value()))
            self._value_filter_works = not answer.keys and not answer.total_count
        return self._value_filter_works

    def _page(self, query: Mapping[str, str], value: Secret | None = None) -> Page:
        params: dict[str, str | Secret] = {**query}
        if self._account is not None:
            params.setdefault("accountId", self._account)
        if value is not None:
            params["apiKeySecret"] = value
        page = parse_page(self._succeed(ApiCall("GET", KEYS_PATH, params=params)))
        self._redactor.spare(fetched.key.id for fetched in page.keys)
        return page

    def _succeed(self, call: ApiCall, key_id: str | None = None) -> Answer:
        answer = self._transport.call(call, self._auth)
        if not answer.ok:
            raise refusal(answer, self._redactor, key_id=key_id)
        return answer

    def _disable(self, key_id: str, body: Mapping[str, object]) -> ProviderError | None:
        """Send an update. Return the refusal if it is a 4xx that another body may not get."""
        call = ApiCall("PUT", _key_path(key_id), body=body, write=True)
        answer = self._transport.call(call, self._auth)
        if not answer.ok:
            error = refusal(answer, self._redactor, key_id=key_id)
            if isinstance(error, InvalidRequest | KeyNotFound | MissingRole):
                return error
            doubtful = isinstance(error, ProviderThrottled) and answer.maybe_done
            if doubtful or isinstance(error, ProviderUnavailable):
                error = OutcomeUnknown(f"{error.message}; the key {key_id} may or may not have been disabled")
            raise error
        if self._confirm(answer, key_id).enabled:
            raise ContractViolation(
                f"{answer.where}: HTTP {answer.status}, but the key {key_id} is still enabled",
                advice="To disable it now, use Infobip's portal; sweeps retry automatically.",
            )
        return None

    def _confirm(self, answer: Answer, key_id: str) -> Key:
        """Return the key after an update. Fetch it if the response is unreadable: a proxy's 200 revokes nothing."""
        try:
            return parse_key(answer, expected_id=key_id).key
        except ContractViolation as error:
            unread = error.message
        try:
            return self._fetch(key_id).key
        except ProviderError as error:
            failed = error.message
        raise OutcomeUnknown(f"{unread}; the key {key_id} may or may not have been disabled, for then {failed}")

    def _learnt(self, fetched: FetchedKey) -> FetchedKey:
        if fetched.value is not None:
            self._redactor.learn(fetched.value.reveal())
        return fetched


def _key_path(key_id: str) -> str:
    if contains_value(key_id):
        raise InvalidRequest(
            "the key id given is a key value; nothing was sent",
            advice="Treat the value as leaked, and use the key's id.",
        )
    if not is_key_id(key_id):
        raise InvalidRequest(
            f"{quoted(redact_key_values(key_id), 40)} is not a valid key id; nothing was sent",
            advice="Use the full id, or its first and last four characters: <first four>...<last four>.",
        )
    return f"{KEYS_PATH}/{key_id}"
