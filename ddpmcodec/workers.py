"""Worker processes, which end with the work, with an error, and with their parent."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from ddpmcodec import threads as computing
from ddpmcodec.errors import WorkerError


def _begin(threads: int, parent: int) -> None:
    """Set up a worker: it computes with so many threads, ends with its parent, however that ends, and leaves Ctrl-C to it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    computing.use(threads)


@contextmanager
def pool(jobs: int, threads: int, tasks: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Start `jobs` processes of `threads` threads each; an error within the context stops them at once.

    Args:
        tasks: the number of tasks that a process does before another takes its place; None: no limit.

    Raises:
        WorkerError: a process has died.
    """
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (threads, os.getpid()), max_tasks_per_child=tasks)
    try:
        yield executor
    except BaseException as e:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
        if isinstance(e, BrokenProcessPool):
            raise WorkerError("a worker process has died: out of memory? fewer processes may help", parameter="jobs") from e
        raise
    executor.shutdown()
