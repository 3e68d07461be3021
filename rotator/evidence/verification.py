"""Compares a pack's files with its manifest, and the manifest with its signature. Every file is untrusted input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rotator.aws.kms import SigningKey
from rotator.decoding import json_object
from rotator.errors import ConfigurationError
from rotator.evidence.pack import FILES, MANIFEST, SIGNATURE
from rotator.text import printable

_LARGEST: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as the manifest says, or the manifest itself."""

    file: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result. ``unlisted`` are the names of files that are not part of the pack."""

    differences: list[Difference]
    unlisted: list[str]
    signed_by: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def verify_pack(folder: Path, kms_key: str | None, key_named: Callable[[str], SigningKey]) -> Verification:
    """Compare files with the manifest's hashes, and check its signature if it names a key or one is given.

    :param kms_key: the key that must have signed it; by default the one that it names.
    :raises ConfigurationError: there is no manifest, or the key can't be used.
    """
    data = _read(folder / MANIFEST)
    manifest = json_object(data)
    if data is None or manifest is None:
        raise ConfigurationError(
            f"{printable(str(folder / MANIFEST))} is missing or can't be read",
            advice="Use the folder that `rotator evidence -o` wrote.",
        )
    listed, signed_by = manifest.get("files"), manifest.get("signed_by")
    hashes: dict[str, Any] = listed if isinstance(listed, dict) else {}
    found = [Difference(printable(name), "is not a file of a pack") for name in hashes if name not in FILES]
    for name in FILES:
        actual = _sha256(folder / name)
        if actual is None:
            found.append(Difference(name, "is missing or can't be read"))
        elif actual != hashes.get(name):
            found.append(Difference(name, "was changed: its SHA-256 is not the manifest's"))
    if signed_by or kms_key:
        key = key_named(kms_key or str(signed_by))
        if not key.verifies(data, json_object(_read(folder / SIGNATURE)) or {}):
            found.append(Difference(MANIFEST, f"its signature by {key.arn} is missing or not valid"))
    known = {*FILES, MANIFEST, *([SIGNATURE] if signed_by else [])}
    unlisted = sorted(printable(entry.name) for entry in folder.iterdir() if entry.name not in known)
    return Verification(found, unlisted, str(signed_by) if signed_by else None)


def _read(path: Path) -> bytes | None:
    """Return the content of a manifest or signature, if it is a file of a sensible size."""
    with suppress(OSError, ValueError):
        if _is_regular(path) and path.stat().st_size <= _LARGEST:
            return path.read_bytes()
    return None


def _sha256(path: Path) -> str | None:
    with suppress(OSError):
        if _is_regular(path):
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()  # to open a pipe would wait for a writer
