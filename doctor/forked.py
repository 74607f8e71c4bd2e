"""Processes that are forked to share the work of the one that waits for them."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

PR_SET_PDEATHSIG = 1


def forked_pool(workers: int, start: Callable[[], None] | None = None) -> ProcessPoolExecutor | None:
    """A pool of so many processes, each of which calls ``start`` first; it needs not be picklable, as nothing is sent.

    None where a machine can't have one: it forks no processes, or has no shared memory for their semaphores.
    """
    try:
        return ProcessPoolExecutor(workers, get_context("fork"), _begin, (os.getpid(), start))
    except (OSError, ImportError, NotImplementedError, ValueError):
        return None


def _begin(parent: int, start: Callable[[], None] | None) -> None:
    """A worker leaves Ctrl-C to its parent, and ends when that one is killed, also if that has happened meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    if start is not None:
        start()
