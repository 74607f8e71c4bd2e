"""Findings to a verdict: which one is the root, which only echo it. Pure; the order of evidence is that of an expert.

One rank that fails makes all others print something. What is printed last is rarely the cause, and files are not in the
order of time, so findings compete by kind of evidence first, then by clock, then by place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase

from doctor.facts import Facts, whole_number
from doctor.finding import Confidence, Finding, Key, Lines, Role, Severity, is_named
from doctor.waits import Missed, Wait, missed


class State(StrEnum):
    """What the findings add up to; undecided means that only echoes of something unseen are there."""

    CLEAN = "clean"
    FOUND = "found"
    UNDECIDED = "undecided"


class Evidence(IntEnum):
    """Kinds of evidence, the strongest first."""

    SCHEDULER = 0  # the kernel, the scheduler or the orchestrator says that it ended the process
    EXCEPTION = 1  # an exception or assertion that is not about communication
    TRANSPORT = 2  # the first warning of NCCL or the network
    EXIT = 3  # a signal or an exit code
    TIMEOUT = 4  # somebody waited for somebody
    LAUNCHER = 5  # a launcher reports that a process is gone
    SETTING = 6  # a configuration that is known to go wrong, whether it did here or not


@dataclass(frozen=True, slots=True)
class Verdict:
    """``root`` is the id of the finding to mend; ``ask_for`` says what to collect where the cause is not in the input."""

    state: State
    root: str | None
    summary: str
    ask_for: tuple[str, ...] = ()


# A log without a failure that ends in the middle of training: the one note that is not clean.
STOPPED = "unknown/stopped"

# Ids, or globs over them, and the kind of evidence they are; the first that fits counts, everything else is an exception.
KINDS: tuple[tuple[str, Evidence], ...] = (
    ("slurm/oom-kill", Evidence.SCHEDULER),
    ("slurm/node-failure", Evidence.SCHEDULER),
    ("slurm/time-limit", Evidence.SCHEDULER),
    ("slurm/preempted", Evidence.SCHEDULER),
    ("slurm/cancelled", Evidence.TIMEOUT),
    ("slurm/task-exited", Evidence.LAUNCHER),
    ("mpi/process-exited", Evidence.LAUNCHER),
    ("k8s/*", Evidence.SCHEDULER),
    ("ray/node-oom", Evidence.SCHEDULER),
    ("cuda/ecc-uncorrectable", Evidence.SCHEDULER),
    ("cuda/nvlink-error", Evidence.SCHEDULER),
    ("cuda/xid-*", Evidence.SCHEDULER),
    ("host/kernel-oom", Evidence.SCHEDULER),
    ("nccl/watchdog-timeout", Evidence.TIMEOUT),
    ("nccl/p2p-hang", Evidence.TIMEOUT),
    ("nccl/duplicate-gpu", Evidence.EXCEPTION),
    ("nccl/not-built", Evidence.EXCEPTION),
    ("nccl/*", Evidence.TRANSPORT),
    ("gloo/timeout", Evidence.TIMEOUT),
    ("gloo/monitored-barrier", Evidence.TIMEOUT),
    ("gloo/size-mismatch", Evidence.EXCEPTION),
    ("gloo/*", Evidence.TRANSPORT),
    ("torch/tcpstore-*", Evidence.TRANSPORT),
    ("torch/store-*", Evidence.TIMEOUT),
    ("torch/socket-timeout", Evidence.TIMEOUT),
    ("torch/nccl-heartbeat-stuck", Evidence.TIMEOUT),
    ("torchrun/port-in-use", Evidence.EXCEPTION),
    ("torchrun/local-rank-arg", Evidence.EXCEPTION),
    ("torchrun/hostname-not-resolvable", Evidence.EXCEPTION),
    ("torchrun/rendezvous-timeout", Evidence.TIMEOUT),
    ("torchrun/store-barrier-timeout", Evidence.TIMEOUT),
    ("torchrun/sighup", Evidence.EXIT),
    ("torchrun/sigint", Evidence.EXIT),
    ("torchrun/hang-interrupted", Evidence.EXIT),
    ("torchrun/sigterm-received", Evidence.EXIT),
    ("torchrun/*", Evidence.LAUNCHER),
    ("env/command-not-found", Evidence.EXIT),  # a shell goes on behind these
    ("env/conda-failed", Evidence.EXIT),
    ("host/segfault", Evidence.EXIT),
    ("host/illegal-instruction", Evidence.EXIT),
    ("host/oom-killed", Evidence.EXIT),
    ("host/sigbus-nccl-shm", Evidence.EXIT),
    ("host/cpu-time-limit", Evidence.EXIT),
    ("host/terminated", Evidence.EXIT),
    ("host/interrupted", Evidence.EXIT),
    ("host/user-signal", Evidence.EXIT),
    ("ray/worker-killed", Evidence.EXIT),
    ("ray/actor-died", Evidence.EXIT),
    ("ray/node-died", Evidence.EXIT),
)

# Families or ids of echoes, and what shows the cause behind them.
COLLECT: tuple[tuple[set[str], str], ...] = (
    ({"unknown/traceback-cut"}, "the rest of the log: the exception stands on the last line of a traceback"),
    (
        {STOPPED},
        "what ended the process: dmesg -T | grep -i 'killed process', sacct -j JOB --format=State,ExitCode, kubectl describe pod",
    ),
    ({"host/run-reported-failed"}, "the run's own output: what the script around it hid, or the file it was sent to"),
    (
        {"host/terminated", "torchrun/child-terminated"},
        "who ended the job: sacct -j JOB, kubectl describe pod, the preemption notice, the other nodes' logs",
    ),
    (
        {"torchrun", "torch", "nccl", "gloo"},
        "the output of every rank: torchrun --log-dir logs --redirects 3 --tee 3, and the folder logs/",
    ),
    (
        {"nccl/watchdog-timeout", "gloo/timeout"},
        "where the rank stands that the others wait for: py-spy dump --pid PID while it hangs",
    ),
    (
        {"torchrun"},
        "a traceback in torchrun's summary: put @record (torch.distributed.elastic.multiprocessing.errors) on main",
    ),
    ({"slurm"}, "the file of the task that srun names (srun --output=log-%t.txt)"),
    ({"slurm"}, "what Slurm knows: sacct -j JOB --format=JobID,State,ExitCode,MaxRSS"),
    ({"mpi"}, "the output of each rank: mpirun --output-filename DIR"),
    ({"ray"}, "the worker's own log below /tmp/ray/session_latest/logs, and the raylet's"),
    (
        {"torchrun", "host", "deepspeed"},
        "the kernel's view of killed processes: dmesg -T | grep -i -E 'killed process|segfault|xid'",
    ),
)

_DOUBT = {Confidence.HIGH: 0, Confidence.MEDIUM: 0, Confidence.LOW: 1}
_PLACES = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 3}


def judge(findings: Iterable[Finding], facts: Facts, waits: Sequence[Wait] = ()) -> tuple[Verdict, tuple[Finding, ...]]:
    """The verdict, and the findings in the order of a report: root, other roots, warnings, echoes, notes."""
    awaited = missed(waits, whole_number(facts, "world_size"))
    found = list(findings)
    explained = _explained(found)
    first = whole_number(facts, "failed.rank")
    roots = [one for one in found if _may_be_root(one) and one.id not in explained]
    root = min(roots, key=lambda one: _order(one, first), default=None)
    if root is not None and (_waits_for_others(root, facts, awaited) or _ended_nothing(root, found, explained)):
        root = None
    judged = [replace(one, explained_by=_explainer(one, root, explained)) for one in found]
    ordered = tuple(sorted(judged, key=lambda one: _report_order(one, root)))
    return _verdict(root, ordered, facts, awaited), ordered


def kind(finding: Finding) -> Evidence:
    """The kind of evidence that a finding is."""
    if isinstance(finding.place, Key):
        return Evidence.SETTING
    return next((kind for pattern, kind in KINDS if fnmatchcase(finding.id, pattern)), Evidence.EXCEPTION)


def _explained(found: Sequence[Finding]) -> dict[str, str]:
    """Finding id to the id of the finding that names it in ``explains``; what is explained itself explains nothing."""
    by: dict[str, str] = {}
    for one in sorted(found, key=_order):
        if _is_note(one) or one.id in by:
            continue
        for other in found:
            if other.id != one.id and is_named(other.id, one.explains):
                by.setdefault(other.id, one.id)
    return by


def _may_be_root(finding: Finding) -> bool:
    return finding.role is not Role.ECHO and not _is_note(finding)


def _is_note(finding: Finding) -> bool:
    return finding.severity is Severity.NOTE


def _order(finding: Finding, first_failed: int | None = None) -> tuple[object, ...]:
    """Severity, kind of evidence, certainty, clock, whether the launcher saw another rank fail first, place."""
    place = finding.place
    time = place.time if isinstance(place, Lines) and place.time is not None else float("inf")
    where = (place.path, place.first) if isinstance(place, Lines) else (place.path, 0)
    elsewhere = first_failed is not None and bool(finding.ranks) and first_failed not in finding.ranks
    doubt = (finding.role is Role.EITHER, _DOUBT[finding.confidence])
    return (_PLACES[finding.severity], kind(finding), *doubt, time, elsewhere, *where)


def _waits_for_others(root: Finding, facts: Facts, awaited: Missed | None) -> bool:
    """Whether the best finding only says that ranks waited for one which is not heard of."""
    if kind(root) is Evidence.LAUNCHER:
        return True
    if kind(root) is not Evidence.TIMEOUT or root.role is not Role.EITHER:
        return False
    world = whole_number(facts, "world_size")
    return bool(awaited and awaited.unheard) or (world is not None and 0 < len(root.ranks) < world)


def _ended_nothing(root: Finding, found: Sequence[Finding], explained: Mapping[str, str]) -> bool:
    """Whether the best finding is a warning, while a failure is reported that it does not claim to explain."""
    failures = [one for one in found if one.severity is Severity.ERROR or (one.role is Role.ECHO and not _is_note(one))]
    return root.severity is Severity.WARNING and any(one.id not in explained for one in failures)


def _explainer(finding: Finding, root: Finding | None, explained: dict[str, str]) -> str | None:
    if finding.id in explained:
        return explained[finding.id]
    if root is None or finding is root or finding.id == root.id or finding.severity is not Severity.ERROR:
        return None
    weaker = finding.role is Role.EITHER and (kind(finding) > kind(root) or root.role is Role.ROOT)
    return root.id if finding.role is Role.ECHO or (weaker and not _failed_before(finding, root)) else None


def _failed_before(finding: Finding, root: Finding) -> bool:
    """Whether a finding that is no report of another one stands above the root, in the same file."""
    one, other = finding.place, root.place
    above = isinstance(one, Lines) and isinstance(other, Lines) and one.path == other.path and one.last < other.first
    return above and kind(finding) is Evidence.EXCEPTION


def _report_order(finding: Finding, root: Finding | None) -> tuple[object, ...]:
    echo = finding.explained_by is not None or finding.role is Role.ECHO
    return (root is None or finding.id != root.id, 2 if echo else _PLACES[finding.severity], *_order(finding))


def _verdict(root: Finding | None, findings: Sequence[Finding], facts: Facts, awaited: Missed | None) -> Verdict:
    if root is not None:
        return Verdict(State.FOUND, root.id, " ".join([_summary(root, findings), *_waiting(root, awaited)]))
    errors = [one for one in findings if one.severity is not Severity.NOTE]
    stopped = [one for one in findings if one.id == STOPPED]
    if not errors and not stopped:
        return Verdict(State.CLEAN, None, "No signature matches, and no failure is left unexplained.")
    summary = f"{stopped[0].title}, and no failure is in it." if stopped else ""
    if errors:
        summary = "Only messages that report another failure are in this input; the failure itself is not."
    summary = " ".join([summary, *_waiting(None, awaited)])
    return Verdict(State.UNDECIDED, None, summary, tuple(_missing(errors or stopped, facts, awaited)))


def _waiting(root: Finding | None, awaited: Missed | None) -> Iterator[str]:
    """Who waited; and for whom, where that is not told by the root."""
    if awaited is not None:
        yield awaited.waiting
        if root is None or kind(root) is Evidence.TIMEOUT:
            yield awaited.sentence


def _summary(root: Finding, findings: Sequence[Finding]) -> str:
    """Who failed first, how many only echo it, and how long that took."""
    echoes = [one for one in findings if one.explained_by]
    others = {rank for one in echoes for rank in one.ranks} - set(root.ranks)
    rank, host = getattr(root.place, "rank", None), getattr(root.place, "host", None)
    where = " of ".join(part for part in ("" if rank is None else f"rank {rank}", host or "") if part)
    parts = [f"{root.title}.", f"First seen on {where}." if where else ""]
    parts.append(f"{len(root.ranks)} ranks print it." if len(root.ranks) > 1 else "")
    parts.append(f"{len(others)} more only echo it{_delay(root, echoes)}." if others else "")
    return " ".join(part for part in parts if part)


def _delay(root: Finding, echoes: Sequence[Finding]) -> str:
    """The time from the root to the last echo, where both have a clock."""
    start = getattr(root.place, "time", None)
    ends = [time for time in (getattr(echo.place, "time", None) for echo in echoes) if time is not None]
    return (
        "" if start is None or not ends or max(ends) < start else f", the last of them {max(ends) - start:.0f} s later"
    )


def _missing(errors: Sequence[Finding], facts: Facts, awaited: Missed | None) -> Iterator[str]:
    """What to collect so that the cause can be seen."""
    families = {name for one in errors for name in (one.id, one.id.partition("/")[0])}
    unheard = _unheard(errors, facts, awaited)
    if unheard:
        yield f"the log of rank {', '.join(map(str, unheard[:8]))}: nothing in this input says what happened there"
    yield from (what for wanted, what in COLLECT if families & wanted)


def _unheard(errors: Sequence[Finding], facts: Facts, awaited: Missed | None) -> list[int]:
    """The ranks that others waited for, or else those that print nothing at all."""
    if awaited and awaited.ranks:
        return list(awaited.ranks)
    world, heard = whole_number(facts, "world_size"), {rank for one in errors for rank in one.ranks}
    return sorted(set(range(min(world, 4096))) - heard) if world is not None and heard else []
