"""Options that several commands share, and their progress bar."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.shell_completion import CompletionItem

from ddpmcodec import plan
from ddpmcodec import threads as computing
from ddpmcodec.models import devices
from ddpmcodec.models.arithmetic import BACKENDS, PRECISIONS, check_device
from ddpmcodec.progress import silent
from ddpmcodec.speed import NORMAL, SPEEDS


class Rate(click.FloatRange):
    """Bits per pixel: a number in a range that is neither "nan" nor "inf", which FloatRange lets pass."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Place(click.ParamType):
    """A path, which shells complete. What is wrong with one the program says, with exit codes of its own: hence not click's Path."""

    name = "path"

    def __init__(self, kind: str):
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type=self.kind)]


DEVICE = "auto|cpu|vulkan|vulkan:N|cuda|mps|xpu"
FILE, DIRECTORY = Place("file"), Place("dir")
SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}


class Size(click.ParamType):
    """Bytes: 10000, 10k or 1.5M, in thousands and millions."""

    name = "size"

    def convert(self, value, param, ctx):
        if isinstance(value, int):
            return value
        number, scale = (value[:-1], SUFFIXES[value[-1]]) if value[-1:] in SUFFIXES else (value, 1)
        try:
            size = float(number) * scale
        except ValueError:
            size = math.nan
        if not 0 <= size < 2**53:
            self.fail(f"{value!r} is no size: give bytes, 10k or 1.5M.", param, ctx)
        return int(size)


class Device(click.ParamType):
    """A device that a network can run on, which has to be here: fails before long work, and once."""

    name = "device"

    def convert(self, value, param, ctx):
        try:
            check_device(value)
        except ValueError as e:
            self.fail(f"{e}.", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in devices.DEVICES if name.startswith(incomplete)]


output = click.option("-o", "--output", required=True, type=FILE, metavar="FILE", help="Write to FILE; - means standard output.")
model = click.option(
    "--model",
    type=FILE,
    metavar="NAME|PATH",
    help="Use this denoiser: a name that `ddpmcodec models` lists, a .safetensors file or a diffusers folder.",
)
threads = click.option("--threads", type=click.IntRange(1, 256), metavar="N", help="Use N CPU threads [default: all cores].")


def _evaluations(instead: str = "", **default: Any) -> Callable:
    return click.option("--evaluations", type=click.IntRange(2, 1000), metavar="N", help=f"Take N network evaluations to decode{instead}: "
                        "more are slower, files smaller.", **default)  # fmt: skip


def _effort(instead: str = "", **default: Any) -> Callable:
    return click.option("--effort", type=click.IntRange(1, 5), metavar="1..5", help=f"Search so hard for words of the channel{instead}: "
                        "4 ... 1 are faster, files 1, 2, 4 and 6 % larger than with 5.", **default)  # fmt: skip


evaluations = _evaluations(default=plan.DEFAULT_EVALUATIONS, show_default=True)
effort = _effort(default=plan.DEFAULT_EFFORT, show_default=True)
_speed = click.option("--speed", type=click.Choice([*SPEEDS]), default=NORMAL, show_default=True, help="Of encoding and decoding: 768x512 "
                      "takes some 5, 13 or 26 s on two cores; files are 15 % larger, or 2 to 4 % smaller.")  # fmt: skip


def speed(command: Callable) -> Callable:
    """Add --speed, and --evaluations and --effort that override it: what `ddpmcodec.speed.choose` takes."""
    preset = ", instead of what --speed says"
    return _speed(_evaluations(preset)(_effort(preset)(command)))


jobs = click.option("-j", "--jobs", type=click.IntRange(1, 1024), metavar="N", help="To a directory: run N processes [default: all cores].")
recursive = click.option("--recursive", is_flag=True, help="Of a folder: also what is in the folders in it, to such a tree.")
skip_existing = click.option("--skip-existing", is_flag=True, help="To a directory: leave out what is there already.")
device = click.option("--device", type=Device(), default="auto", show_default=True, metavar=DEVICE,
                      help="Run the network there: auto is a GPU that cuda or vulkan finds, where that is worth it. vulkan is for photo "
                      "models, N one of its devices.")  # fmt: skip
precision = click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True,
                         help="Run the network in it: auto is bf16 where that is fast and does not show. fp16 is for vulkan. Lossless is "
                         "fp32.")  # fmt: skip
backend = click.option("--backend", type=click.Choice(BACKENDS), default="auto", show_default=True,
                       help="Run the network with it: auto is ncnn for photo models on CPU and vulkan, unless bf16 runs.")  # fmt: skip
quiet = click.option("--quiet", is_flag=True, help="Show no progress bar and no summary.")
max_pixels = click.option(
    "--max-pixels", type=click.IntRange(1), metavar="N", help="Refuse larger pictures [default: 50000000, which take 5.3 GB]."
)


def use_threads(count: int | None) -> None:
    """Compute with so many threads."""
    computing.use(count)


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that draws a bar on stderr, where that is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield silent
        return
    from tqdm import tqdm  # here, as it takes a twentieth of a second to import

    with tqdm(desc=label, unit="eval", file=sys.stderr, leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
