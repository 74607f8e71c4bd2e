"""A report with one of everything."""

import pytest

from doctor.finding import Confidence, Finding, Lines, Role, Severity
from doctor.report import Report, Subject
from doctor.rootcause import State, Verdict

ROOT = Finding(
    id="ddp/marked-ready-twice",
    title="DDP saw one parameter become ready twice in one backward",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    role=Role.ROOT,
    place=Lines("run.log", 27, 40, 1, "<host-1>", 328 * 86400 + 11045.678),
    evidence=(
        "RuntimeError: Expected to mark a variable ready only once. "
        + "This error is caused by one of the following. " * 4,
    ),
    cause="Reentrant checkpointing runs its own backward inside each block.",
    fix="Use non-reentrant checkpointing.",
    config="gradient_checkpointing_kwargs:\n  use_reentrant: false",
    count=2,
    ranks=(0, 1),
    captures={"param": "lora_B"},
    references=("https://github.com/huggingface/accelerate/issues/3536",),
    fingerprint="0123456789ab",
)
WARNING = Finding(
    "cuda/arch-warning",
    "Torch lacks this GPU",
    Severity.WARNING,
    Confidence.MEDIUM,
    Role.ROOT,
    Lines("run.log", 3, 3),
    ("w",),
    "c",
    "f",
)
ECHO = Finding(
    "torchrun/child-failed", "torchrun reports a failed rank", Severity.ERROR, Confidence.HIGH, Role.ECHO, Lines("run.log", 90, 99),
    ("e",), "c", "f", explained_by="ddp/marked-ready-twice",
)  # fmt: skip


@pytest.fixture
def found() -> Report:
    verdict = Verdict(State.FOUND, ROOT.id, f"{ROOT.title}. First seen on rank 1 of <host-1>.")
    return Report(
        Subject("logs", ("run.log",), 12345, 100),
        verdict,
        (ROOT, WARNING, ECHO),
        {"version.torch": "2.13.0", "world_size": 2},
        300,
        "d" * 64,
        skipped=(("a/b", "its pattern took too long on run.log:5"),),
        redacted=True,
    )


@pytest.fixture
def undecided() -> Report:
    verdict = Verdict(State.UNDECIDED, None, "Only echoes are in this input.", ("the log of rank 3", "dmesg -T"))
    return Report(Subject("logs", ("a.log", "b.log"), 10, 2), verdict, (ECHO,), {}, 300, "d" * 64, redacted=True)


@pytest.fixture
def clean() -> Report:
    verdict = Verdict(State.CLEAN, None, "No signature matches, and no failure is left unexplained.")
    return Report(Subject("logs", ("run.log",), 10, 2), verdict, (), {}, 300, "d" * 64)
