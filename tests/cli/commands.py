"""Every command of the program."""

from __future__ import annotations

import click

from rotator.cli.app import cli


def every_command(group: click.Group = cli, *path: str) -> dict[str, click.Command]:
    """By whole name, groups included; each is imported."""
    context, found = click.Context(group), {}
    for name in group.list_commands(context):
        found[" ".join((*path, name))] = command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= every_command(command, *path, name)
    return {name: command for name, command in found.items() if command is not None}
