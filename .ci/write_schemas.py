"""JSON Schemas (2020-12) of what programs read: every ``--json`` document, audit lines and events; for ``make docs``.

They are made from the shapes that each command names, and from the audit's own list of fields. Unknown fields and
constants are allowed, since later versions may add some; the tests validate the program's output against :func:`strict`
ones.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import click

from rotator.audit_events import Event
from rotator.cli.app import cli
from rotator.cli.documents import ErrorDocument, OfSecretShape
from rotator.cli.options import Command
from rotator.telemetry.audit import FIELDS, AuditOutcome, Trigger
from rotator.telemetry.consumer_events import DETAIL_FIELDS

FOLDER: Final = Path(__file__).parents[1] / "docs" / "schemas"
_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
_PATTERNS: Final = {"time": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", "date": r"^\d{4}-\d\d-\d\d$"}
_LOCATION: Final = {name: {"type": "string"} for name in OfSecretShape.__annotations__}
Schema = dict[str, Any]


def schemas() -> Iterator[tuple[str, Schema]]:
    """Each file's name and content."""
    for command, shapes in documented(cli):
        yield f"{command.replace(' ', '-')}.json", _document(f"rotator {command} --json", *shapes, ErrorDocument)
    yield "audit-line.json", _head("A line of the audit trail") | _audit_line()
    yield "event.json", _head("The detail of an event on the event bus") | _event()


def documented(group: click.Group, prefix: str = "") -> Iterator[tuple[str, tuple[type, ...]]]:
    """Each command's name, and the shapes of its documents."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from documented(command, f"{prefix}{name} ")
        elif isinstance(command, Command):
            yield prefix + name, command.documents


def text_of(schema: Schema) -> str:
    """The file's text."""
    return json.dumps(schema, indent=2) + "\n"


def strict(schema: Any) -> Any:
    """The same schema, with no other fields, and no other constants than today's."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(value) for name, value in schema.items()}
    if "properties" in found and "description" in found:
        found["additionalProperties"] = False
    if "examples" in found:
        found["enum"] = found.pop("examples")
    return found


def _head(title: str) -> Schema:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}


def _document(title: str, *shapes: type) -> Schema:
    defined: Schema = {}
    documents = [_of(shape, defined) for shape in shapes]
    return _head(title) | {"anyOf": documents, "$defs": dict(sorted(defined.items()))}


def _of(kind: Any, defined: Schema) -> Schema:
    """The schema of a type; those of objects go into ``defined``."""
    if get_origin(kind) is Annotated:
        inner, name = get_args(kind)
        return _of(inner, defined) | {"pattern": _PATTERNS[name]}
    if get_origin(kind) in (Union, UnionType):
        return _any([_of(each, defined) for each in get_args(kind)])
    match get_origin(kind), get_args(kind):
        case origin, (inner,) if origin is list:
            return {"type": "array", "items": _of(inner, defined)}
        case origin, (inner,) if origin is NotRequired:
            return _of(inner, defined)
        case origin, (_, inner) if origin is dict:
            return {"type": "object", "additionalProperties": _of(inner, defined)}
    if kind is datetime:
        return {"type": "string", "pattern": _PATTERNS["time"]}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if issubclass(kind, Enum):
        return {"type": "string", "examples": [str(each) for each in kind]}
    assert is_typeddict(kind) or dataclasses.is_dataclass(kind), kind
    name = kind.__name__
    if name not in defined:
        defined[name] = {}
        types = get_type_hints(kind, include_extras=True)
        defined[name] = {
            "title": name,
            "description": inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("``", ""),
            "type": "object",
            "properties": {field: _of(each, defined) for field, each in types.items()},
            "required": [field for field, each in types.items() if get_origin(each) is not NotRequired],
        }
    return {"$ref": f"#/$defs/{name}"}


def _any(schemas_: list[Schema]) -> Schema:
    """One of these; plain types as one list."""
    types = [each["type"] for each in schemas_ if each.keys() == {"type"}]
    return {"type": types} if len(types) == len(schemas_) else {"anyOf": schemas_}


def _audit_line() -> Schema:
    text = {"type": ["string", "null"]}
    special: Schema = {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "level": {"type": "string", "examples": ["info", "warning", "error"]},
        "event": {"type": "string", "enum": [str(event) for event in Event]},
        "outcome": {"type": "string", "examples": [str(each) for each in AuditOutcome]},
        "run_id": {"type": "string"},
        "seq": {"type": "integer"},
        "prev": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "deployment": {"type": "string"},
        "actor": {"type": "string"},
        "trigger": {"type": "string", "examples": [str(each) for each in Trigger]},
        "duration_ms": {"type": ["integer", "null"]},
    }
    properties = {name: special.get(name, text) for name in FIELDS} | _LOCATION
    return {"type": "object", "properties": properties, "required": [*FIELDS]}


def _event() -> Schema:
    text = {"type": ["string", "null"]}
    return {
        "type": "object",
        "properties": dict.fromkeys(DETAIL_FIELDS, text) | _LOCATION,
        "required": [*DETAIL_FIELDS],
    }
