"""``rotator completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from rotator.cli.call import Call
from rotator.cli.options import command

SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_ROTATOR_COMPLETE"


@command
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
def completion(call: Call, shell: str) -> int:
    """Print the script that teaches a shell to complete commands and options.

    \b
    bash, in ~/.bashrc:  eval "$(rotator completion bash)"
    zsh, in ~/.zshrc:    eval "$(rotator completion zsh)"
    fish, once:
      rotator completion fish > ~/.config/fish/completions/rotator.fish

    \b
    Examples:
      rotator completion bash
      rotator completion fish
    """
    from rotator.cli.app import cli

    chosen = get_completion_class(shell)
    assert chosen is not None
    script = chosen(cli, {}, "rotator", _VARIABLE)
    # Not `source()`, which starts a bash to ask for its version.
    text = script.source_template % script.source_vars()
    if call.json:
        call.document({"shell": shell, "script": text})
    else:
        call.write(text + "\n")
    return 0
