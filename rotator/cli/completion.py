"""``rotator completion``: prints click's own completion script for a shell."""

from __future__ import annotations

from typing import TypedDict

import click
from click.shell_completion import get_completion_class

from rotator.cli.call import Call
from rotator.cli.options import command


class CompletionDocument(TypedDict):
    """``completion``."""

    shell: str
    script: str


@command(CompletionDocument)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def completion(call: Call, shell: str) -> int:
    """Print the script that teaches a shell to complete commands and options.

    \b
    Examples:
      eval "$(rotator completion bash)"   in ~/.bashrc
      eval "$(rotator completion zsh)"    in ~/.zshrc
      rotator completion fish > ~/.config/fish/completions/rotator.fish
    """
    from rotator.cli.app import cli

    chosen = get_completion_class(shell)
    assert chosen is not None
    script = chosen(cli, {}, "rotator", "_ROTATOR_COMPLETE").source()
    if call.json:
        call.document({"shell": shell, "script": script})
    else:
        call.write(script + "\n")
    return 0
