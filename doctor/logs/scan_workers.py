"""Forked processes that scan the blocks of a large log for the one that reads it.

Threads would not do: Hyperscan takes the interpreter for every hit that it reports, and waits for whoever else holds it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from mmap import mmap

from doctor.forked import forked_pool
from doctor.logs.block_scan import BlockScanner, Scanned
from doctor.logs.source import BLOCK, Block

# The process that reads on is as fast as three that scan.
WORKERS = min(3, os.cpu_count() or 1)
# Most blocks are little more than BLOCK long; one that is longer than this is not handed over.
SLOT = 2 * BLOCK


def scanned_by_others(scanner: BlockScanner, blocks: Iterator[Block]) -> Iterator[tuple[Block, Scanned]]:
    """Blocks with what other processes found in them, in order; a process that dies, or can't be started, costs time only."""
    with _Workers(scanner) as workers:
        ahead: deque[tuple[Block, Future[Scanned] | None]] = deque()
        for block in blocks:
            ahead.append((block, workers.submit(block)))
            if len(ahead) > WORKERS:
                yield workers.result(*ahead.popleft())
        while ahead:
            yield workers.result(*ahead.popleft())


class _Workers:
    """Forked processes that scan blocks which lie in memory shared with them."""

    def __init__(self, scanner: BlockScanner) -> None:
        self._scanner = scanner
        self._memory = mmap(-1, (WORKERS + 1) * SLOT)
        self._next = 0
        self._others = set(multiprocessing.active_children())
        self._pool = forked_pool(WORKERS, partial(_start, scanner, self._memory))
        self._broken = False

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        # Of processes that could not all be started, the pool leaves the first.
        for process in set(multiprocessing.active_children()) - self._others:
            process.terminate()
            process.join()
        self._memory.close()

    def submit(self, block: Block) -> Future[Scanned] | None:
        """Hand a block over; None if it stays here. No more than one more than WORKERS may wait for their results."""
        if self._pool is None or self._broken or len(block.data) > SLOT:
            return None
        at = self._next * SLOT
        self._next = (self._next + 1) % (WORKERS + 1)
        self._memory[at : at + len(block.data)] = block.data
        try:
            return self._pool.submit(_scan, at, len(block.data), block.end, block.start)
        except (BrokenProcessPool, OSError):  # no memory, or no more processes
            self._broken = True
            return None

    def result(self, block: Block, handed: Future[Scanned] | None) -> tuple[Block, Scanned]:
        """A block with what is in it."""
        try:
            return block, self._scanner.scan(block) if handed is None else handed.result()
        except BrokenProcessPool:
            self._broken = True
            return block, self._scanner.scan(block)


_handed: tuple[BlockScanner, mmap]


def _start(scanner: BlockScanner, memory: mmap) -> None:
    global _handed
    _handed = scanner, memory


def _scan(at: int, size: int, end: int, start: int) -> Scanned:
    scanner, memory = _handed
    return scanner.scan(Block(memory[at : at + size], end, start))
