"""The mutation check: which small changes to the modules of the format and its coders their tests notice.

    python tests/mutation.py [MODULE ...] [-o RESULTS] [--again RESULTS]

The changes are cosmic-ray's, of the replacements of an operator only the nearest, and two kinds that it lacks: statements left out, and
short strings without their first or last character. Each is tried in a process of its own, forked from one that has imported what takes
long, on a copy of the repository in `build/`. It is killed if a test fails, or if the tests do not end.
"""

import ast
import compileall
import gc
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from py_compile import PycInvalidationMode

import click
import hypothesis
import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from parso.python.tree import Keyword, String

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutation"
TESTS = {  # by module, files of tests/ddpmcodec, and tests in them
    "format/rangecoder": "format/rangecoder",
    "format/sections": "format/container format/steptable",
    "format/metadata": "format/metadata modes hostile::test_metadata_that_take_a_minute_to_deflate",
    "format/alpha": "modes format/container",
    "format/header": "format/container format/steptable channel/rotation hostile",
    "channel/codeword": "channel/codeword channel/rotation",
    "format/steptable": "format/steptable format/rangecoder format/format_document format/container",
    "format/container": "format/container format/format_document modes::test_metadata_of_whole_and_cut_files"
    " modes::test_a_section_that_is_there_twice lossless::test_the_encoding_says_what_it_is lossless::test_every_cut_is_a_lossy_file",
    "format/tail": "format/tail format/rangecoder lossless::test_a_tail_with_fields_out_of_range",
    "channel/trellis": "channel/trellis channel/channel",
}
MOST = 500  # mutants of a module
MOST_COMPILED = 70  # of the trellis, each of which takes ten seconds to compile
MEMORY = 6 << 30  # bytes that one may take
NEAREST = {"Add": "Sub", "Sub": "Add", "Mul": "FloorDiv", "FloorDiv": "Mul", "Div": "Mul", "Mod": "FloorDiv", "Pow": "Mul"}
NEAREST |= {"LShift": "RShift", "RShift": "LShift", "BitOr": "BitAnd", "BitAnd": "BitOr", "Delete": "USub Invert Not"}
NEAREST |= {"Eq": "NotEq", "NotEq": "Eq", "Is": "IsNot", "IsNot": "Is", "Lt": "LtE GtE", "LtE": "Lt Gt", "Gt": "GtE LtE", "GtE": "Gt Lt"}


@dataclass(frozen=True)
class Mutant:
    """One place of an operator in a module, and the line that it changes."""

    module: str
    operator: str
    occurrence: int
    line: int
    was: str
    now: str


class LeaveOut(Operator):
    """A call for its effect, or an assignment to an item or with an operation, becomes `pass`."""

    def mutation_positions(self, node):
        if node.type == "simple_stmt":
            statement = node.children[0]
            effect = statement.type == "atom_expr"
            if statement.type == "expr_stmt":
                target, operation = statement.children[:2]
                effect = target.type == "atom_expr" or (operation.type == "operator" and operation.value != "=")
            if effect:
                yield statement.start_pos, statement.end_pos

    def mutate(self, node, index):
        first = node.get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node

    @classmethod
    def examples(cls):
        return ()


class Shorten(Operator):
    """A string of at most 8 characters loses its first or its last."""

    def mutation_positions(self, node):
        if node.type == "string" and 1 <= len(ast.literal_eval(node.value)) <= 8:
            yield from [(node.start_pos, node.end_pos)] * 2

    def mutate(self, node, index):
        text = ast.literal_eval(node.value)
        return String(repr(text[:-1] if index else text[1:]), node.start_pos, node.prefix)

    @classmethod
    def examples(cls):
        return ()


def operators() -> dict[str, Operator]:
    known = {"LeaveOut": LeaveOut(), "Shorten": Shorten()}
    for name in plugins.operator_names():
        operator, (_, _, replaced) = plugins.get_operator(name), name.partition("Operator_")
        this, _, other = replaced.partition("_")
        if not operator.arguments() and (not replaced or other in NEAREST.get(this, "").split()):
            known[name] = operator()
    return known


def unannotated(source: str) -> str:
    """The program, less what only a type checker reads; "" where it is none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        for field in {"annotation", "returns"} & set(node._fields):
            setattr(node, field, None)
    return ast.dump(tree)


def mutants(module: str) -> Iterator[tuple[Mutant, str]]:
    """Those of a module with their sources, in a random order that is always the same; none that differ in annotations alone."""
    source = (ROOT / "ddpmcodec" / f"{module}.py").read_text()
    nodes, known = list(ast_nodes(get_ast(source))), operators()
    places = [(name, i) for name in sorted(known) for i, _ in enumerate(p for n in nodes for p in known[name].mutation_positions(n))]
    random.Random(0).shuffle(places)
    for name, i in places:
        changed = mutate_code(source, known[name], i)
        if unannotated(changed) not in ("", unannotated(source)):
            lines = enumerate(zip(source.splitlines(), changed.splitlines(), strict=True), 1)
            line, (was, now) = next((number, pair) for number, pair in lines if pair[0] != pair[1])
            yield Mutant(module, name, i, line, was.strip(), now.strip()), changed


def lay_out() -> None:
    """Copy the repository, its packages as they install."""
    shutil.rmtree(COPY, ignore_errors=True)
    for name, place in [(n, n) for n in ("ddpmcodec", "tests", "docs")] + [(n, f"ddpmcodec/{n}") for n in ("models", "eval", "cli")]:
        shutil.copytree(ROOT / name, COPY / place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", COPY)
    compileall.compile_dir(COPY / "ddpmcodec", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)


def file_of_tests(name: str) -> Path:
    """The file of tests of that name, which is that of a module."""
    path = Path("tests/ddpmcodec") / name
    return path.with_name(f"test_{path.name}.py")


def run_tests(module: str, limit: int) -> tuple[bool, float]:
    """Whether a module's tests pass within `limit` seconds of processor time, and the seconds that they took."""
    if child := os.fork():
        _, status, usage = os.wait4(child, 0)
        return status == 0, usage.ru_utime + usage.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.alarm(20 * limit)
    os.chdir(COPY)
    sys.path.insert(0, str(COPY))
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # any example will do
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, phases=phases)
    hypothesis.settings.load_profile("mutation")
    tests = ["::".join([str(file_of_tests(file)), *one]) for file, *one in (t.split("::") for t in TESTS[module].split())]
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


def fates(path: Path | None) -> dict[Mutant, bool]:
    """Which mutants survive, as a file of results has it."""
    told = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    return {Mutant(**m["mutant"]): m["survives"] for m in told}


@click.command()
@click.argument("modules", nargs=-1, type=click.Choice(list(TESTS)), metavar="[MODULE]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Lines of JSON, a mutant each; those that it has are not tried anew.")
@click.option("--again", type=click.Path(exists=True, path_type=Path), help="Try only those that survive by this file.")
def main(modules: tuple[str, ...], output: Path | None, again: Path | None) -> None:
    for name in ("torch", "torch.distributions", "numba", "constriction", "PIL.Image", "safetensors.torch", "msgspec", "scipy", "tqdm"):
        importlib.import_module(name)
    gc.freeze()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    lay_out()
    known, old = fates(output), fates(again)
    for module in modules or TESTS:
        passing, seconds = run_tests(module, 1000)
        if not passing:
            sys.exit(f"the tests of {module} fail as it is:\n{(COPY / 'output').read_text()}")
        path = COPY / "ddpmcodec" / f"{module}.py"
        original = path.read_text()
        count = survivors = 0
        chosen = (pair for pair in mutants(module) if not again or old.get(pair[0]))
        for mutant, source in islice(chosen, MOST_COMPILED if module == "channel/trellis" else MOST):
            if (survives := known.get(mutant)) is None:
                path.write_text(source)
                survives, _ = run_tests(module, 10 + round(2 * seconds))
                if output:
                    with output.open("a") as file:
                        file.write(json.dumps({"mutant": asdict(mutant), "survives": survives}) + "\n")
            count, survivors = count + 1, survivors + survives
            if survives:
                print(f"{module}.py:{mutant.line}: {mutant.was}\n    -> {mutant.now}", flush=True)
        path.write_text(original)
        print(f"{module}: {count} mutants, {survivors} survive, {1 - survivors / max(count, 1):.1%} killed", flush=True)


if __name__ == "__main__":
    main()
