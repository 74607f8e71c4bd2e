"""A progress bar on standard error: bytes read, and how many a second."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

# Seconds of work before a bar is worth looking at, and between two looks.
QUIET, REFRESH = 1.0, 0.1


@contextmanager
def bytes_bar(paths: tuple[str, ...]) -> Iterator[Callable[[int], None]]:
    """A callback for bytes read; the bar appears after a second and leaves nothing behind.

    It is drawn when bytes were read: a thread that draws would keep the process from starting others.
    """
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    task, due = bar.add_task("", total=_size(paths)), time.monotonic() + QUIET

    def on_read(count: int) -> None:
        nonlocal due
        bar.advance(task, count)
        if time.monotonic() > due:
            bar.start()
            bar.refresh()
            due = time.monotonic() + REFRESH

    try:
        yield on_read
    finally:
        bar.stop()


def _size(paths: tuple[str, ...]) -> int | None:
    """The bytes to come; None where it is not known beforehand, as for standard input."""
    if not all(os.path.isfile(path) for path in paths):
        return None
    return sum(os.path.getsize(path) for path in paths)
