"""``rotator completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output

SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_ROTATOR_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@common_options
@pass_options
def completion(options: Options, shell: str) -> int:
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
    # Not `source()`: for bash that starts a bash, to ask for its version.
    text = script.source_template % script.source_vars()
    output = Output(options)
    if output.is_json:
        output.document({"shell": shell, "script": text})
    else:
        click.echo(text)
    return 0
