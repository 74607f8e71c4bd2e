"""Which bytes of a log are metrics: one scan pattern a spelling of a series. ``metric_points.py`` reads the numbers."""

from doctor.metric_keys import KEYS, Key

# What may stand in front of a key: the start, a colour, punctuation, or a blank behind anything but a word.
_LEFT = r"(?:\A ?|\x1b\[[\d;]{0,20}m ?|[^\w /.-]|[^a-z_] )"
_SEPARATOR = r"""['"]?\)?[ \t:=]+['"]?(?:tensor\(|np\.float\d\d\()?"""
_NUMBER = r"[-+]?[\dni.]"


def metric_patterns() -> tuple[str, ...]:
    """One scan pattern for each of ``KEYS``. A match ends behind the first character of the number (its sign not counted)."""
    return tuple(map(_pattern, KEYS))


def _pattern(key: Key) -> str:
    left = "" if key.spelling.startswith((r"\b", r"\[")) else _LEFT
    if key.separator == "":
        return f"(?i){left}(?:{key.spelling})"
    separator = _SEPARATOR if key.separator is None else key.separator
    return f"(?i){left}(?:{key.spelling}){separator}{_NUMBER}"
