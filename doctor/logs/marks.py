"""Scan patterns that are no signature: where tracebacks start, where training goes on, where a run says that it is done."""

from collections.abc import Iterable

from doctor.logs.run_facts import fact_patterns, framework_patterns

MARK = "@"
TRACEBACK = "@traceback"
PROGRESS = "@progress"
DONE = "@done"
FACT = "@fact"
FRAMEWORK = "@framework"
LAUNCHER = "@launcher"

_PROGRESS = (
    r"""\bloss['"]?[=:] ?['"]?-?\d""",
    r"""\b(?:train_|lm |lm_|Train )loss['"]?[=:]? ?['"]?-?\d""",
)
_DONE = (
    r"""['"]train_runtime['"]: """,
    r"Training (?:is )?(?:completed|complete|finished|done)",
    r"Trainer\.fit.{0,3} stopped: .max_(?:steps|epochs)",
)

# Marks of which one place in a block is enough.
SINGLE = frozenset({FRAMEWORK})


def marks(keys: Iterable[str]) -> list[tuple[str, str]]:
    """(mark, pattern) of every mark; ``keys`` are the settings that signatures ask for."""
    return [
        (TRACEBACK, r"Traceback \(most recent call last\)"),
        (LAUNCHER, r"Root Cause \(first observed failure\)"),
        *((PROGRESS, pattern) for pattern in _PROGRESS),
        *((DONE, pattern) for pattern in _DONE),
        *((FACT, pattern) for pattern in fact_patterns(keys)),
        *((FRAMEWORK, pattern) for pattern in framework_patterns()),
    ]
