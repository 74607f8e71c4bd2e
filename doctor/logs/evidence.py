"""Which texts of a failure's records a report shows."""

import re
from collections.abc import Iterable
from itertools import islice

from doctor.masks import masked

MOST_EVIDENCE = 3
# Among so many matches different evidence is looked for.
MOST_COMPARED = 500
# A message of so many characters is the same failure wherever it stands.
LONG_MESSAGE = 40
_TYPE = re.compile(r"(?:[A-Za-z_]\w*\.){0,8}\w+(?:Error|Exception): ")


def different(texts: Iterable[str]) -> tuple[str, ...]:
    """The first texts that differ in more than numbers and paths, and in more than what a logger puts around a message."""
    shown: dict[str, str] = {}
    for text in islice(texts, MOST_COMPARED):
        words = masked(text)
        if not any(_message(one) in words for one in shown):
            shown[words] = text
        if len(shown) == MOST_EVIDENCE:
            break
    return tuple(shown.values())


def _message(text: str) -> str:
    """A text without the type of the exception in front: loggers repeat the message behind words of their own."""
    message = text[found.end() :] if (found := _TYPE.match(text)) else text
    return message if len(message) >= LONG_MESSAGE else text
