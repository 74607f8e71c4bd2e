"""Logs that look like training though none of their numbers is a known metric."""

import re

# A line that counts, with another number behind; and how many different counts make a log one of training.
_COUNTS = re.compile(
    rb"\b(?:[eE]poch|EPOCH|[sS]tep|STEP|[iI]ter(?:ation)?)s?[ :=#\[]{1,3}(\d{1,9})\b[^\n]{0,400}?\d\.\d"
)
_LEAST = 5
_SEARCHED = 1024 * 1024


def counts_steps(text: bytes) -> bool:
    """Whether lines near the end of a text count epochs or steps, each with a number beside it."""
    return len({found[1] for found in _COUNTS.finditer(text[-_SEARCHED:])}) >= _LEAST
