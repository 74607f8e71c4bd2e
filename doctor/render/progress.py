"""A progress bar on standard error: bytes read, and how many a second."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

# Seconds of work before a bar is worth looking at.
QUIET = 1.0


@contextmanager
def bytes_bar(paths: tuple[str, ...]) -> Iterator[Callable[[int], None]]:
    """A callback for bytes read; the bar appears after a second and leaves nothing behind."""
    bar = Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=_size(paths))
    started = time.monotonic()

    def on_read(count: int) -> None:
        bar.advance(task, count)
        if not bar.live.is_started and time.monotonic() - started > QUIET:
            bar.start()

    try:
        yield on_read
    finally:
        bar.stop()


def _size(paths: tuple[str, ...]) -> int | None:
    """The bytes to come; None where it is not known beforehand, as for standard input."""
    if not all(os.path.isfile(path) for path in paths):
        return None
    return sum(os.path.getsize(path) for path in paths)
