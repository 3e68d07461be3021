"""Writes a pack, a folder with tables, summary and manifest, and verifies one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rotator.durations import human_duration
from rotator.errors import ConfigurationError, RotatorError
from rotator.evidence.tables import HEADS, Row, time_text
from rotator.text import printable

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig.json"
SUMMARY: Final = "summary.html"
FILES: Final = (*(f"{name}.csv" for name in HEADS), SUMMARY)
_LARGEST_MANIFEST: Final = 20_000_000
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ADVICE: Final = "Files that were already there were not changed. Use a new folder."


class PackUnwritten(RotatorError):
    """A file could not be written, so the pack has no manifest."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as the manifest says."""

    file: str
    detail: str


def cell(value: object, redact: Callable[[str], str]) -> str:
    """Return a value as a CSV cell: never a formula, a control character or a secret value."""
    match value:
        case None:
            return ""
        case datetime():
            return time_text(value)
        case timedelta():
            return human_duration(value)
    text = printable(redact(str(value)), 2_000)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not isinstance(value, int | float) else text


def table(name: str, rows: Sequence[Row], redact: Callable[[str], str]) -> bytes:
    """Return a table as CSV, in UTF-8."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADS[name])
    writer.writerows([cell(value, redact) for value in row] for row in rows)
    return file.getvalue().encode("utf-8", "backslashreplace")


def check_folder(folder: Path, *, create: bool = False) -> None:
    """Accept an empty folder, or one that can be created, with mode 0700.

    :raises ConfigurationError: it contains files, or can't be used.
    """
    try:
        if create:
            folder.mkdir(mode=0o700, exist_ok=True)
        if folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(f"{printable(str(folder))} is not empty; nothing was written", advice=_ADVICE)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a valid name"
        raise ConfigurationError(f"{printable(str(folder))} can't be used: {why}", advice="Use a new folder.") from None


def write(folder: Path, name: str, data: bytes) -> None:
    """Write a new file that only its owner can read.

    :raises PackUnwritten: it exists, no space, no permission.
    """
    try:
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise PackUnwritten(
            f"{printable(str(folder / name))} was not written: {error.strerror}; the pack is incomplete", advice=_ADVICE
        ) from None


def digest(data: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_pack(folder: Path) -> tuple[bytes, Mapping[str, Any]]:
    """Return the manifest, as bytes and parsed.

    :raises ConfigurationError: the folder has no readable manifest.
    """
    try:
        data = _regular(folder / MANIFEST).read_bytes()
        manifest = json.loads(data)
        if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
            return data, manifest
        why = "it is not a manifest"
    except OSError as error:
        why = error.strerror or "it is too large, or not a regular file"
    except (ValueError, RecursionError):
        why = "it is not valid JSON"
    raise ConfigurationError(
        f"{printable(str(folder / MANIFEST))} can't be read: {why}",
        advice="Use the folder that `rotator evidence -o` wrote.",
    )


def differences(folder: Path, manifest: Mapping[str, Any]) -> tuple[list[Difference], list[str]]:
    """Compare the files with the manifest; also return the names of files that are not part of the pack."""
    found: list[Difference] = []
    listed = manifest["files"]
    for name in FILES:
        entry = listed.get(name)
        expected = entry.get("sha256") if isinstance(entry, dict) else None
        try:
            path = _regular(folder / name)
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            found.append(Difference(name, f"can't be read: {error.strerror or 'not a regular file'}"))
            continue
        if expected is None:
            found.append(Difference(name, "the manifest does not list it"))
        elif actual != expected:
            found.append(Difference(name, "was changed: its SHA-256 differs from the manifest's"))
    known = {*FILES, MANIFEST, SIGNATURE}
    found += [Difference(printable(str(name)), "is not a file of a pack") for name in listed if name not in known]
    unlisted = sorted(printable(entry.name) for entry in folder.iterdir() if entry.name not in known)
    return found, unlisted


def read_signature(folder: Path) -> Mapping[str, str]:
    """Return ``key``, ``algorithm`` and ``signature``; empty if there is no readable signature."""
    try:
        found = json.loads(_regular(folder / SIGNATURE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    names = ("key", "algorithm", "signature")
    return {name: str(found.get(name, "")) for name in names} if isinstance(found, dict) else {}


def _regular(path: Path) -> Path:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(None, "not a regular file")
    if path.name in (MANIFEST, SIGNATURE) and path.exists() and path.stat().st_size > _LARGEST_MANIFEST:
        raise OSError(None, "too large")
    return path
