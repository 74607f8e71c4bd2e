"""Scan patterns that are no signature: where tracebacks start, where training goes on, where a run says that it is done."""

from collections.abc import Iterable

from doctor.logs.metrics import METRIC_PATTERNS
from doctor.logs.run_facts import fact_patterns
from doctor.logs.watchdog import PATTERNS

MARK = "@"
TRACEBACK = "@traceback"
METRIC = "@metric"
DONE = "@done"
FACT = "@fact"
LAUNCHER = "@launcher"
WATCHDOG = "@watchdog"

_DONE = (
    r"""['"]train_runtime['"]: """,
    r"(?i)\b(?:train(?:ing|er)?|sweep|tuning):? (?:is |was |has )?(?:completed|complete|finished|done)\b",
    r"\b(?:End of training|Saving (?:the )?final (?:model|checkpoint))\b[.!]*\s*[\r\n]",
    r"(?i)\ball (?:ranks|workers|processes) (?:have |are )?(?:finished|done|completed)\b",
    r"Trainer\.fit.{0,3} stopped: .max_(?:steps|epochs)",
)


def marks(keys: Iterable[str]) -> list[tuple[str, str]]:
    """(mark, pattern) of every mark; ``keys`` are the settings that signatures ask for."""
    return [
        (TRACEBACK, r"Traceback \(most recent call last\)"),
        (LAUNCHER, r"Root Cause \(first observed failure\)"),
        *((WATCHDOG, pattern) for pattern in PATTERNS),
        *((METRIC, pattern) for pattern in METRIC_PATTERNS),
        *((DONE, pattern) for pattern in _DONE),
        *((FACT, pattern) for pattern in fact_patterns(keys)),
    ]
