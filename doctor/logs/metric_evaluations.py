"""Numbers behind a heading such as "Eval metrics :", which are of an evaluation though their keys don't say so."""

import re

import numpy as np

from doctor.logs.number_columns import Numbers
from doctor.metric_keys import KEYS
from doctor.points import Ints

# The key that each means behind such a heading, -1 where it means the same.
_BEHIND = np.array(
    [next((n for n, other in enumerate(KEYS) if other.series == key.evaluated), -1) for key in KEYS], np.int64
)
# A heading speaks of its own record only, no further than this, and not of what is called training; one between stars of the
# lines of "key = value" below it.
_REACH = 400
_TRAINING = b"train"
_LISTED = re.compile(rb"\**[ \t\r]*\n(?:[^\n=]{1,80} = [^\n=]{1,60}\n)*[^\n=]{1,80} = ")


def evaluated(text: bytes, numbers: Numbers, headings: Ints) -> Numbers:
    """The numbers, with those of an evaluation under its keys. ``headings`` are the ends of headings, in their order."""
    if not len(headings):
        return numbers
    key, above = numbers.key.copy(), np.searchsorted(headings, numbers.start, side="right") - 1
    heading = headings[np.maximum(above, 0)]
    near = (above >= 0) & (numbers.start - heading < _REACH)
    for row in np.flatnonzero(near & (_BEHIND[key] >= 0)).tolist():
        between = text[heading[row] : numbers.start[row]]
        if _reaches(between) and _TRAINING not in between.lower():
            key[row] = _BEHIND[key[row]]
    return Numbers(key, numbers.start, numbers.stop, numbers.value)


def _reaches(between: bytes) -> bool:
    """Whether a heading still speaks of a number behind this text."""
    return not (b"\n" in between or b"\r" in between) or _LISTED.fullmatch(between) is not None
