"""`ddpmcodec eval`: its subcommands, imported when they are used, and the one that it is without a subcommand's name."""

import importlib

import click
from click.shell_completion import CompletionItem

from ddpmcodec.cli import options, words

SUBCOMMANDS = ("rd", "denoise", "lossless", "losses", "drift", "sensitivity", "comparison", "cut")  # each in its module, eval_...
DEFAULT = SUBCOMMANDS[0]


class Evaluations(click.Group):
    """A group whose first argument need not be a subcommand: what is none belongs to the default one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return importlib.import_module(f"ddpmcodec.cli.eval_{name}").command if name in SUBCOMMANDS else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = not args or args[0] in SUBCOMMANDS or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else [DEFAULT, *args])

    def resolve_command(self, ctx: click.Context, args: list[str]):
        name, command, rest = super().resolve_command(ctx, args)
        ctx.meta[words.COMMAND] = command
        return name, command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer subcommands, and what may follow the default one: its options, or files."""
        default = self.get_command(ctx, DEFAULT)
        assert default is not None
        with default.make_context(DEFAULT, [], parent=ctx, resilient_parsing=True) as of_default:
            after = default.shell_complete(of_default, incomplete) or options.FILE.shell_complete(of_default, default.params[0], incomplete)
        return [*super().shell_complete(ctx, incomplete), *after]


@click.command("eval", cls=Evaluations, short_help="Measure codecs, the denoiser, the channel on pictures.")
def command() -> None:
    """Measure codecs by real bytes, or parts of ours, on pictures.

    What begins with none of the subcommands' names is `eval rd`, whose --denoise and --lossless are the subcommands of these names. A file
    or directory that is called as a subcommand is reached as ./rd, say.

    \b
    ddpmcodec eval photos/ -o results/
    ddpmcodec eval photos/ --codec ddpm --codec avif --bpp 0.25 --bpp 0.5 --stride 4 -o results/
    ddpmcodec eval denoise photos/
    ddpmcodec eval lossless crops.npz --together --model tiny --effort 3
    ddpmcodec eval COMMAND --help
    """
