"""The blocks of a log and what is in them, in order; those of a large log are scanned by processes of their own."""

import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from doctor.logs.block_cuts import LogBlock
from doctor.logs.block_scan import BlockScanner, Scanned

# Blocks that are scanned before it is worth while to start others.
ALONE = 2


def scan_ahead(scanner: BlockScanner, blocks: Iterable[LogBlock]) -> Iterator[tuple[LogBlock, Scanned]]:
    """Blocks with what is in them, in order."""
    left = iter(blocks)
    for block in islice(left, ALONE):
        yield block, scanner.scan(block)
    following = next(left, None)
    if following is not None:
        yield from _rest(scanner, chain([following], left))


def _rest(scanner: BlockScanner, blocks: Iterator[LogBlock]) -> Iterator[tuple[LogBlock, Scanned]]:
    if not _can_fork():
        return ((block, scanner.scan(block)) for block in blocks)
    from doctor.logs.scan_workers import scanned_by_others  # no small log waits for its imports

    return scanned_by_others(scanner, blocks)


def _can_fork() -> bool:
    """A forked process has the compiled patterns at once. Where other threads run it may not be done."""
    return sys.platform == "linux" and threading.active_count() == 1
