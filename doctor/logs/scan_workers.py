"""Forked processes that scan the blocks of a large log for the one that reads it.

Threads would not do: Hyperscan takes the interpreter for every hit that it reports, and waits for whoever else holds it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from mmap import mmap

from doctor.forked import forked_pool
from doctor.logs.block_cuts import BLOCK, Block, Extent, LogBlock, read_at
from doctor.logs.block_scan import BlockScanner, Scanned

# What they have found is taken by one process, which is as fast as some ten that scan.
WORKERS = min(8, os.cpu_count() or 1)
# Most blocks are little more than BLOCK long; one that is longer than this is not handed over.
SLOT = 2 * BLOCK
# Of <malloc.h>, and what it holds back at most: blocks and arrays of their size.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_FREED = 32 * 1024 * 1024


def scanned_by_others(scanner: BlockScanner, blocks: Iterator[LogBlock]) -> Iterator[tuple[LogBlock, Scanned]]:
    """Blocks with what other processes found in them, in order; a process that dies, or can't be started, costs time only."""
    with _Workers(scanner) as workers:
        ahead: deque[tuple[LogBlock, Future[Scanned] | None]] = deque()
        for block in blocks:
            ahead.append((block, workers.submit(block)))
            if len(ahead) > WORKERS:
                yield workers.result(*ahead.popleft())
        while ahead:
            yield workers.result(*ahead.popleft())


class _Workers:
    """Forked processes that scan blocks which they read themselves, or which lie in memory shared with them."""

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

    def submit(self, block: LogBlock) -> Future[Scanned] | None:
        """Hand a block over; None if it stays here. No more than one more than WORKERS may wait for their results."""
        if self._pool is None or self._broken or (isinstance(block, Block) and len(block.data) > SLOT):
            return None
        try:
            if isinstance(block, Extent):
                file = block.file.path, block.file.descriptor
                return self._pool.submit(_scan_file, *file, block.offset, block.size, block.end, block.start)
            return self._pool.submit(_scan_memory, self._put(block.data), len(block.data), block.end, block.start)
        except (BrokenProcessPool, OSError):  # no memory, or no more processes
            self._broken = True
            return None

    def _put(self, data: bytes) -> int:
        """Copy a block into the memory that is shared, and say where it lies."""
        at = self._next * SLOT
        self._next = (self._next + 1) % (WORKERS + 1)
        self._memory[at : at + len(data)] = data
        return at

    def result(self, block: LogBlock, handed: Future[Scanned] | None) -> tuple[LogBlock, Scanned]:
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
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have the C library keep what was freed for the next block, where it would give it back: each of its pages costs a fault."""
    with suppress(AttributeError):  # not every C library has it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_FREED)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_FREED)


def _scan_memory(at: int, size: int, end: int, start: int) -> Scanned:
    scanner, memory = _handed
    return scanner.scan(Block(memory[at : at + size], end, start))


def _scan_file(path: str, descriptor: int, offset: int, size: int, end: int, start: int) -> Scanned:
    """The same for a block that lies in a file, whose descriptor came with the fork."""
    return _handed[0].scan(Block(read_at(path, descriptor, offset, offset + size), end, start))
