"""The steps of a reverse process, as options of the commands that run one."""

from collections.abc import Sequence

import click

ALL = "all"
DEFAULT_STEPS = 100  # where levels are continuous; fewer timesteps than all make pictures too smooth (docs/paper.md)


class Steps(click.ParamType):
    """`all`, or a number of steps."""

    name = "steps"

    def convert(self, value, param, ctx):
        return value if value == ALL else click.IntRange(1, 1 << 14).convert(value, param, ctx)


steps = click.option("--steps", type=Steps(), metavar="all|N", help="Visit so many levels: those stored with the model, else evenly spaced "
                     "[default: all timesteps, of a model of continuous levels 100].")  # fmt: skip
variance = click.option("--variance", type=click.Choice(["beta", "beta-tilde"]), help="Give p this variance instead of the model's.")


def levels(model, start: int, count: str | int | None) -> Sequence[int]:
    """Return the levels that `--steps` asks for, from `start` on: those stored with the model, where it has so many.

    Raises:
        click.BadParameter: there are not so many, or no "all" of them.
    """
    from ddpmcodec.models.reverse import subsequence

    if start == model.start and count in model.best_visited:
        return list(model.best_visited[count])
    timesteps = start if model.levels.counts_timesteps else None
    if count == ALL and timesteps is None:
        raise click.BadParameter(f"the levels of {model.name} are continuous: there is no 'all' of them", param_hint="--steps")
    number = timesteps or DEFAULT_STEPS if count in (ALL, None) else int(count)
    try:
        return subsequence(model.levels, start, number)
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--steps") from e


def levels_from(model, t: int, count: str | int | None) -> Sequence[int]:
    """Return the levels that `--steps` asks for, from that of `--t` on.

    Raises:
        click.BadParameter: the model has no such level, or as of `levels`.
    """
    if not model.levels.contains(t) or model.levels.distance(model.start, t) < 0:
        raise click.BadParameter(f"{t} is no level of {model.name}, which begins at {model.start}", param_hint="--t")
    return levels(model, t, count)


def visited(model, counts: Sequence[str | int], default: bool) -> list[Sequence[int]]:
    """Return the levels of each `--steps`; where there is none and `default` is set, of all timesteps, or 100 continuous levels.

    Raises:
        click.BadParameter: as of `levels`.
    """
    usual = [ALL if model.levels.counts_timesteps else None] if default else []
    return [levels(model, model.start, count) for count in (counts or usual)]


def check_count(most: int, count: int) -> None:
    """Raise click.BadParameter where `count` levels are searched for among fewer."""
    if count > most:
        raise click.BadParameter(f"{count} levels are not 2 ... {most}", param_hint="--search")
