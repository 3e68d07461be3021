"""A rotation that stops where one of Secrets Manager's steps ends; see :mod:`rotator.engine.rotation.four_steps`."""

from __future__ import annotations

from rotator.engine.rotation import Rotation
from rotator.engine.rotation.create import Creation
from rotator.errors import Changed
from rotator.ports import FetchedKey


class Stepwise(Rotation):
    """A rotation in pieces."""

    def create(self, token: str) -> str:
        """Make the key (or find the one that an earlier attempt made) and store it. Gives its id."""
        entry, spec, life = self._look()
        creation = Creation(self.flow, entry, spec, self._proven(entry, life, self._old_key()))
        stored = self._current_value(entry, life)
        self._rehearse(entry, spec, stored)
        fetched = self._earlier(creation, token)
        if fetched is None:
            fetched, _, _ = creation.make(token)
        self._store(entry, spec, life, fetched, stored, token)
        return fetched.key.id

    def rehearse(self) -> None:
        """Everything that comes before a key is made."""
        entry, spec, life = self._look()
        old = self._proven(entry, life, self._old_key())
        Creation(self.flow, entry, spec, old).request(self.context.services.new_version_id())
        self._rehearse(entry, spec, self._current_value(entry, life))

    def check(self, key_id: str, token: str, *, finish: bool) -> None:
        """Compare and probe what was stored, and promote it if ``finish``."""
        entry, spec, life = self._look()
        self.flow.own = True  # the token says so: nobody else makes keys for it
        old = self._proven(entry, life, self._old_key())
        promotion = self._check_stored(Creation(self.flow, entry, spec, old), life, key_id, token)
        if finish:
            promotion.finish()

    def _earlier(self, creation: Creation, token: str) -> FetchedKey | None:
        """The key of an attempt that was cut off: adopted where its value can be read, else revoked."""
        self.flow.own = True
        provider, request = self.context.provider, creation.request(token)
        for key in provider.find_by_name(request.name):
            if not key.alive(self.flow.now()):
                continue
            self.flow.looked = self.flow.now()
            fetched = provider.get_key(key.id)
            fields = self.flow.fields(creation.entry, token, key.id)
            if fetched.value is not None:
                creation.compare(fetched.key, request, token, resumed=True)
                self.context.services.audit.emit("key.created", "success", **fields, detail="found by its name")
                return fetched
            self.context.services.audit.emit(
                "key.orphan_found", "success", **fields, detail="an earlier attempt's; its value can't be read"
            )
            if not self.flow.revoke_own(creation.entry, key.id, token):
                raise Changed(f"today's updates are used up, {creation.entry.name} waits")
        return None
