"""A batch on a cluster of dask.distributed. Workers see bytes only: pictures are read here, and files written here, whole and once."""

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ddpmcodec import __version__
from ddpmcodec.cli import batch, files, options
from ddpmcodec.errors import DdpmcodecError, WorkerError

if TYPE_CHECKING:
    from distributed import Client, Future

# Makes the bytes of an output, whose name is given too, of an input's name and bytes; and the cells of the summary.
Work = Callable[[str, bytes, str, batch.Say, dict[str, Any]], tuple[bytes, list[str]]]

AHEAD = 2  # pictures that a worker process has: one at work, and one that waits for it
RETRIES = 2  # of what no typed error explains. Workers that die are dask's to count (distributed.scheduler.allowed-failures)
ALONE = threading.Lock()


def _in_worker(work: Work, version: str, threads: int | None, source: str, data: bytes, output: str, chosen: dict[str, Any]):
    """In a worker: the work for one input. One at a time in a process: not every threading layer of numba bears two, and memory may not."""
    if version != __version__:
        return [], None, WorkerError(f"{source}: a worker has ddpmcodec {__version__}, this is {version}")
    from distributed import get_worker

    with ALONE:
        options.use_threads(threads or get_worker().state.nthreads)
        return batch.attempt(source, lambda say: work(source, data, output, say, chosen))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without dask's log and warnings: what matters in them becomes a typed error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


async def _greet(address: str) -> None:
    """Whether a scheduler answers. A Client waits for ever where another server listens, and cannot be closed if it has failed."""
    import dask.config
    from dask.utils import parse_timedelta
    from distributed import Security
    from distributed.comm import connect

    async with asyncio.timeout(parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")) + 1):
        comm = await connect(address, **Security().get_connection_args("client"))
    await comm.close()


@contextmanager
def _connected(address: str) -> "Iterator[Client]":
    """A client of the scheduler. Its tasks end with it.

    Raises:
        WorkerError: dask.distributed is not installed, or the scheduler cannot be reached, or is lost.
    """
    try:
        from distributed import Client
    except ImportError as e:
        raise WorkerError("--dask needs dask.distributed: pip install 'ddpmcodec[dask]'") from e
    with _quiet():
        try:
            asyncio.run(_greet(address))
            client = Client(address, set_as_default=False)
        except Exception as e:  # no address, no such host, nobody there, no dask there: each its own
            raise WorkerError(f"no dask scheduler at {address}: {_line(e)}") from e
        try:
            yield client
        except (OSError, CancelledError) as e:
            raise WorkerError(f"the dask scheduler at {address} is lost: --skip-existing goes on where this ended") from e
        finally:
            client.close()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _written(future: "Future", source: str, output: str) -> batch.Attempt[list[str]]:
    """What a worker has made, as a file."""
    from distributed import KilledWorker

    try:
        said, made, error = future.result()
    except CancelledError:  # with the connection
        raise
    except KilledWorker:
        return [], None, WorkerError(f"{source}: the workers that took it have died: out of memory?")
    except Exception as e:  # of dask or of a worker: ddpmcodec missing there, say
        return [], None, WorkerError(f"{source}: a worker failed: {type(e).__name__}: {_line(e)}")
    if made is None:
        return said, None, error
    data, cells = made
    try:
        files.write(output, data)
    except DdpmcodecError as e:
        return said, None, e
    return said, cells, None


def on_dask(work: Work, chosen: dict[str, Any], address: str, threads: int | None, todo: dict[str, str]) -> batch.Results:
    """Results of the work, done on a cluster.

    Args:
        chosen: options of the work.
        address: the scheduler's.
        threads: for a picture; else as many as the worker has.
        todo: output of each input.

    Raises:
        WorkerError: see `_connected`.
    """
    with _connected(address) as client:
        from distributed import as_completed

        waiting = iter(todo)
        running: dict[Any, str] = {}
        ended = as_completed(loop=client.loop)
        if todo and not client.nthreads() and not chosen["quiet"]:
            click.echo(f"{address} has no workers yet: waiting", err=True)
        while True:
            if client.status != "running":  # asking it would take as long as connecting anew may
                raise CancelledError
            capacity = AHEAD * max(1, len(client.nthreads()))
            while len(running) < capacity and (source := next(waiting, None)) is not None:
                try:
                    data = files.read(source)
                except DdpmcodecError as e:
                    yield source, ([], None, e)
                    continue
                arguments = (work, __version__, threads, source, data, todo[source], chosen)
                future = client.submit(_in_worker, *arguments, pure=False, retries=RETRIES)
                running[future.key] = source
                ended.add(future)
            if not running:
                return
            future = next(ended)
            source = running.pop(future.key)
            yield source, _written(future, source, todo[source])
