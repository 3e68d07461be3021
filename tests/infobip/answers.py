"""What Infobip answers: a key, a page of the list, and the key that the client makes of it."""

from __future__ import annotations

from rotator.model import Key

KEY_VALUE = "0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555"


def page(*keys: dict[str, object], total: int | None = None, pages: int | None = None) -> dict[str, object]:
    """A page of the list as Infobip writes it."""
    count = len(keys) if total is None else total
    shown = -(-count // 100) if pages is None else pages
    paging = {"page": 0, "pageSize": 100, "totalCount": count, "totalPages": shown}
    return {"apiKeys": list(keys), "paging": paging}


def key(key_id: str = "K1", **more: object) -> dict[str, object]:
    """A key as Infobip writes it."""
    return {"id": key_id, "name": f"name of {key_id}", "enabled": True, "apiKeySecret": KEY_VALUE, **more}


def shown(key_id: str = "K1", account_id: str | None = None) -> Key:
    """An enabled key as the client returns it."""
    return Key(key_id, f"name of {key_id}", account_id, True, None, None)


K1 = shown()
