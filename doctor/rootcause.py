"""Findings to a verdict: which one is the root, which only echo it. Pure; the order of evidence is that of an expert.

One rank that fails makes all others print something. What is printed last is rarely the cause, and files are not in the
order of time, so findings compete by kind of evidence first, then by clock, then by place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase

from doctor.facts import Facts
from doctor.finding import Confidence, Finding, Lines, Role, Severity


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """``root`` is the id of the finding to mend; ``ask_for`` says what to collect where the cause is not in the input."""

    state: State
    root: str | None
    summary: str
    ask_for: tuple[str, ...] = ()


# Ids, or globs over them, and the kind of evidence they are; the first that fits counts, everything else is an exception.
KINDS: tuple[tuple[str, Evidence], ...] = (
    ("slurm/oom-kill", Evidence.SCHEDULER),
    ("slurm/time-limit", Evidence.SCHEDULER),
    ("slurm/preempted", Evidence.SCHEDULER),
    ("slurm/cancelled", Evidence.TIMEOUT),
    ("slurm/*", Evidence.LAUNCHER),
    ("k8s/*", Evidence.SCHEDULER),
    ("ray/node-oom", Evidence.SCHEDULER),
    ("cuda/ecc-uncorrectable", Evidence.SCHEDULER),
    ("cuda/nvlink-error", Evidence.SCHEDULER),
    ("cuda/xid-*", Evidence.SCHEDULER),
    ("nccl/watchdog-timeout", Evidence.TIMEOUT),
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
    ("torchrun/sigterm-received", Evidence.EXIT),
    ("torchrun/*", Evidence.LAUNCHER),
    ("host/segfault", Evidence.EXIT),
    ("host/oom-killed", Evidence.EXIT),
    ("host/sigbus-nccl-shm", Evidence.EXIT),
    ("host/interrupted", Evidence.EXIT),
    ("ray/worker-killed", Evidence.EXIT),
    ("ray/actor-died", Evidence.EXIT),
)

_DOUBT = {Confidence.HIGH: 0, Confidence.MEDIUM: 0, Confidence.LOW: 1}
_PLACES = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 3}


def judge(findings: Iterable[Finding], facts: Facts) -> tuple[Verdict, tuple[Finding, ...]]:
    """The verdict, and the findings in the order of a report: root, other roots, warnings, echoes, notes."""
    found = list(findings)
    explained = _explained(found)
    first = _first_failed(facts)
    roots = [one for one in found if _may_be_root(one) and one.id not in explained]
    root = min(roots, key=lambda one: _order(one, first), default=None)
    if root is not None and _waits_for_others(root, facts):
        root = None
    judged = [replace(one, explained_by=_explainer(one, root, explained)) for one in found]
    ordered = tuple(sorted(judged, key=lambda one: _report_order(one, root)))
    return _verdict(root, ordered, facts), ordered


def kind(finding: Finding) -> Evidence:
    """The kind of evidence that a finding is."""
    return next((kind for pattern, kind in KINDS if fnmatchcase(finding.id, pattern)), Evidence.EXCEPTION)


def _explained(found: Sequence[Finding]) -> dict[str, str]:
    """Finding id to the id of the finding that names it in ``explains``; what is explained itself explains nothing."""
    by: dict[str, str] = {}
    for one in sorted(found, key=_order):
        if one.severity is Severity.NOTE or one.id in by:
            continue
        for other in found:
            if other.id != one.id and any(fnmatchcase(other.id, pattern) for pattern in one.explains):
                by.setdefault(other.id, one.id)
    return by


def _may_be_root(finding: Finding) -> bool:
    return finding.role is not Role.ECHO and finding.severity is not Severity.NOTE


def _first_failed(facts: Facts) -> int | None:
    """The rank that a launcher saw fail first."""
    fact = facts.get("failed.rank")
    return fact.value if fact is not None and isinstance(fact.value, int) else None


def _order(finding: Finding, first_failed: int | None = None) -> tuple[object, ...]:
    """Severity, kind of evidence, certainty, clock, whether the launcher saw another rank fail first, place."""
    place = finding.place
    time = place.time if isinstance(place, Lines) and place.time is not None else float("inf")
    where = (place.path, place.first) if isinstance(place, Lines) else (place.path, 0)
    elsewhere = first_failed is not None and bool(finding.ranks) and first_failed not in finding.ranks
    doubt = (finding.role is Role.EITHER, _DOUBT[finding.confidence])
    return (_PLACES[finding.severity], kind(finding), *doubt, time, elsewhere, *where)


def _waits_for_others(root: Finding, facts: Facts) -> bool:
    """Whether the best finding only says that ranks waited for one which is not heard of."""
    if kind(root) is Evidence.LAUNCHER:
        return True
    world = facts.get("world_size")
    missing = world is not None and isinstance(world.value, int) and 0 < len(root.ranks) < world.value
    return kind(root) is Evidence.TIMEOUT and root.role is Role.EITHER and missing


def _explainer(finding: Finding, root: Finding | None, explained: dict[str, str]) -> str | None:
    if finding.id in explained:
        return explained[finding.id]
    if root is None or finding is root or finding.id == root.id or finding.severity is not Severity.ERROR:
        return None
    weaker = finding.role is Role.EITHER and (kind(finding) > kind(root) or root.role is Role.ROOT)
    return root.id if finding.role is Role.ECHO or weaker else None


def _report_order(finding: Finding, root: Finding | None) -> tuple[object, ...]:
    echo = finding.explained_by is not None or finding.role is Role.ECHO
    return (root is None or finding.id != root.id, 2 if echo else _PLACES[finding.severity], *_order(finding))


def _verdict(root: Finding | None, findings: Sequence[Finding], facts: Facts) -> Verdict:
    if root is not None:
        return Verdict(State.FOUND, root.id, _summary(root, findings))
    errors = [one for one in findings if one.severity is not Severity.NOTE]
    if not errors:
        return Verdict(State.CLEAN, None, "No signature matches, and no failure is left unexplained.")
    summary = "Only messages that report another failure are in this input; the failure itself is not."
    return Verdict(State.UNDECIDED, None, summary, tuple(_missing(errors, facts)))


def _summary(root: Finding, findings: Sequence[Finding]) -> str:
    """Who failed first, and how many only echo it."""
    place = root.place
    where = ""
    if isinstance(place, Lines):
        rank = f"rank {place.rank}" if place.rank is not None else ""
        where = " of ".join(part for part in (rank, place.host or "") if part)
    others = {rank for one in findings if one.explained_by for rank in one.ranks} - set(root.ranks)
    parts = [f"{root.title}."]
    if where:
        parts.append(f"First seen on {where}.")
    if len(root.ranks) > 1:
        parts.append(f"{len(root.ranks)} ranks print it.")
    if others:
        parts.append(f"{len(others)} more only echo it.")
    return " ".join(parts)


def _missing(errors: Sequence[Finding], facts: Facts) -> Iterable[str]:
    """What to collect so that the cause can be seen."""
    ids = {one.id for one in errors}
    families = {id.partition("/")[0] for id in ids}
    world, heard = facts.get("world_size"), {rank for one in errors for rank in one.ranks}
    if world is not None and isinstance(world.value, int) and heard and len(heard) < min(world.value, 4096):
        missing = sorted(set(range(world.value)) - heard)
        yield f"the log of rank {', '.join(map(str, missing[:8]))}: nothing in this input comes from it"
    if families & {"torchrun", "torch", "nccl", "gloo"}:
        yield "the output of every rank: torchrun --log-dir logs --redirects 3 --tee 3, and the folder logs/"
    if "torchrun" in families:
        yield "a traceback in torchrun's summary: put @record (torch.distributed.elastic.multiprocessing.errors) on main"
    if "slurm" in families:
        yield "the file of the task that srun names (srun --output=log-%t.txt)"
        yield "what Slurm knows: sacct -j JOB --format=JobID,State,ExitCode,MaxRSS"
    if "ray" in families:
        yield "the worker's own log below /tmp/ray/session_latest/logs, and the raylet's"
    if families & {"torchrun", "host", "deepspeed"}:
        yield "the kernel's view of killed processes: dmesg -T | grep -i -E 'killed process|segfault|xid'"
