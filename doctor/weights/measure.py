"""One streaming pass over a checkpoint: processes read spans of SPAN bytes; memory does not grow with the files."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from doctor.errors import CheckpointError
from doctor.forked import forked_pool
from doctor.weights.dtypes import DTYPES, Dtype
from doctor.weights.entries import Entry, Fault, FaultKind, Piece
from doctor.weights.layers import TensorRole, is_expert_stack, place_of
from doctor.weights.moments import Moments, Workspace, merge

SPAN = 32 << 20
SMALL = 128 << 20  # bytes that are measured sooner than processes are started
MOST_WORKERS = 16
NOT_WEIGHTS = (TensorRole.BUFFER, TensorRole.SCALE, TensorRole.PACKED)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A tensor and its statistics; ``experts`` has one for each expert of a 3-D stack."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    layer: int | None
    role: TensorRole
    moments: Moments
    experts: tuple[Moments, ...] = ()

    @property
    def is_scaled(self) -> bool:
        """Whether its numbers are scaled elsewhere, so that they compare with no other tensor's."""
        return DTYPES[self.dtype].is_scaled

    @property
    def is_weight(self) -> bool:
        """Whether its numbers are parameters of the model: floats that are no buffers, scales or packed data."""
        return DTYPES[self.dtype].is_float and self.role not in NOT_WEIGHTS


# What goes to other processes has no slots: pickle is four times as slow with them.
@dataclass(frozen=True)
class _Span:
    """Part of a run of elements; ``start`` is the index of its first element in the tensor or expert."""

    entry: int
    expert: int
    start: int
    piece: Piece
    dtype: Dtype
    precise: bool

    @property
    def nbytes(self) -> int:
        return self.piece.count * self.dtype.bits // 8


@dataclass(frozen=True)
class _Result:
    moments: Moments
    fault: str = ""


def measure(
    entries: Sequence[Entry],
    progress: Progress = lambda nbytes: None,
    workers: int | None = None,
    precise: Callable[[str], bool] = lambda name: False,
) -> tuple[list[Measured], list[Fault]]:
    """Measure every entry in one pass; a tensor that can't be read becomes a fault.

    ``progress`` gets the number of bytes just done. Results come in the order of the entries and do not depend on the
    number of processes. Deviations are good to 5e-7; where ``precise`` holds for the name, to float64.
    """
    found: list[dict[int, list[Moments]]] = [{} for _ in entries]
    broken: dict[int, str] = {}
    tasks = list(_tasks(_spans(entries, precise)))
    results = _results(tasks, workers or min(MOST_WORKERS, os.cpu_count() or 1))
    for task, of_task in zip(tasks, results, strict=True):
        for span, result in zip(task, of_task, strict=True):
            found[span.entry].setdefault(span.expert, []).append(result.moments)
            if result.fault:
                broken.setdefault(span.entry, result.fault)
        progress(sum(span.nbytes for span in task))
    whole = [i for i in range(len(entries)) if i not in broken]
    faults = [Fault(FaultKind.UNREADABLE, entries[i].file, why, entries[i].name) for i, why in sorted(broken.items())]
    return [_measured(entries[i], found[i]) for i in whole], faults


def _measured(entry: Entry, runs: dict[int, list[Moments]]) -> Measured:
    merged = {expert: merge(parts) for expert, parts in runs.items()}
    experts = tuple(merged[i] for i in range(entry.shape[0])) if len(merged) > 1 else ()
    each = math.prod(entry.shape[1:])
    moments = merge(one.shifted(i * each) for i, one in enumerate(experts)) if experts else merge(merged.values())
    place = place_of(entry.name)
    return Measured(entry.file, entry.name, entry.dtype, entry.shape, place.layer, place.role, moments, experts)


def _spans(entries: Sequence[Entry], precise: Callable[[str], bool]) -> Iterator[_Span]:
    for i, entry in enumerate(entries):
        dtype = DTYPES[entry.dtype]
        step, is_precise = SPAN * 8 // dtype.bits, precise(entry.name)
        for expert, start, piece in _runs(entry, dtype):
            for at in range(0, piece.count, step):
                part = Piece(piece.file, piece.offset + at * dtype.bits // 8, min(step, piece.count - at))
                yield _Span(i, expert, start + at, part, dtype, is_precise)


def _runs(entry: Entry, dtype: Dtype) -> Iterator[tuple[int, int, Piece]]:
    """The runs to measure apart: expert, index of the first element within the tensor or expert, piece."""
    if is_expert_stack(entry.name, entry.shape) and len(entry.pieces) == 1:
        each, piece = math.prod(entry.shape[1:]), entry.pieces[0]
        for expert in range(entry.shape[0]):
            yield expert, 0, Piece(piece.file, piece.offset + expert * each * dtype.bits // 8, each)
        return
    start = 0
    for piece in entry.pieces:
        yield 0, start, piece
        start += piece.count


def _tasks(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    """Spans that lie one after the other in one file, up to SPAN bytes together."""
    task: list[_Span] = []
    size = 0
    for span in spans:
        if task and (size + span.nbytes > SPAN or span.piece.file != task[0].piece.file):
            yield task
            task, size = [], 0
        task.append(span)
        size += span.nbytes
    if task:
        yield task


def _results(tasks: Sequence[list[_Span]], workers: int) -> Iterator[list[_Result]]:
    """The results of all tasks in their order: in this process if they are few, otherwise in forked ones.

    numpy holds the interpreter so often between calls on small chunks that threads gain nothing (measured: 1 to 16 threads at
    1.7 to 1.4 GB/s, 16 processes at 18.7).
    """
    large = sum(span.nbytes for task in tasks for span in task) >= SMALL
    pool = forked_pool(workers) if large and workers > 1 else None
    if pool is None:
        yield from map(_run, tasks)
        return
    try:
        yield from pool.map(_run, tasks)
    except BrokenProcessPool:
        raise CheckpointError("a process that measured was killed, most likely for memory; try again") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _run(task: list[_Span]) -> list[_Result]:
    try:
        with open(task[0].piece.file, "rb", buffering=0) as file:
            return [_read(span, file.fileno(), _workspace()) for span in task]
    except OSError as fault:
        return [_Result(Moments(), f"can't be opened: {fault.strerror}") for _ in task]


@cache
def _workspace() -> Workspace:
    """The buffers of this process."""
    return Workspace()


def _read(span: _Span, descriptor: int, workspace: Workspace) -> _Result:
    view = workspace.chunk.data

    def fill(at: int, size: int) -> None:
        if os.preadv(descriptor, [view[:size]], span.piece.offset + at) != size:
            raise _CutShortError

    try:
        moments = workspace.run(span.nbytes, span.dtype, fill, span.precise)
    except _CutShortError:
        return _Result(Moments(), "ended while it was read; is something writing to it?")
    except OSError as fault:
        return _Result(Moments(), f"can't be read: {fault.strerror}")
    return _Result(moments.shifted(span.start))


class _CutShortError(Exception):
    """A file ended before the tensor did."""
