"""A metric series drawn in characters, with the steps of findings marked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH = 80
HEIGHT = 8
# A series whose largest value is so many times its smallest is drawn on a logarithmic axis.
LOGARITHMIC = 50.0
MOST_EXPONENT = 709.0

UNICODE = {"line": "│", "point": "•", "gap": "×", "mark": "▲", "axis": "┤", "floor": "─", "corner": "└"}
ASCII = {"line": ":", "point": "*", "gap": "x", "mark": "^", "axis": "|", "floor": "-", "corner": "+"}


@dataclass(frozen=True, slots=True)
class _Column:
    """The points that fall into one column: range and median of the finite ones if there are any, and whether one isn't."""

    low: float = math.nan
    median: float = math.nan
    high: float = math.nan
    broken: bool = False

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Column":
        ordered = sorted(filter(math.isfinite, values))
        if not ordered:
            return cls(broken=True)
        return cls(ordered[0], ordered[len(ordered) // 2], ordered[-1], broken=len(ordered) < len(values))


def plot(
    name: str, steps: Sequence[float], values: Sequence[float], marks: Sequence[float] = (), *, plain: bool = False
) -> str:
    """A title, HEIGHT lines with an axis of values, an axis of steps, and a line that marks steps; at most WIDTH wide.

    Columns show the range and the median of their points; a cross at the top stands for NaN or infinity. ``plain`` draws in
    ASCII. Returns an empty text if there are fewer than two points.
    """
    if len(steps) < 2 or steps[-1] <= steps[0]:
        return ""
    signs = ASCII if plain else UNICODE
    scale = _Scale.of(min(filter(math.isfinite, values), default=0.0), max(filter(math.isfinite, values), default=1.0))
    labels = [scale.label(row) for row in range(HEIGHT)]
    margin = max(map(len, labels))
    columns = _columns(steps, values, WIDTH - margin - 2)
    rows = [_row(columns, scale, row, signs) for row in range(HEIGHT)]
    lines = [f"{name}{' (logarithmic)' if scale.logarithmic else ''}, {len(values)} points"]
    lines += [f"{label:>{margin}} {signs['axis']}{row}".rstrip() for label, row in zip(labels, rows, strict=True)]
    lines.append(f"{'':>{margin}} {signs['corner']}{signs['floor'] * len(columns)}")
    lines.append(f"{'':>{margin}}  {_ends(steps, len(columns))}".rstrip())
    lines += [f"{'':>{margin}}  {line}" for line in _marks(steps, marks, len(columns), signs["mark"])]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to rows: row 0 is the top."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, low: float, high: float) -> "_Scale":
        logarithmic = low > 0 and high > LOGARITHMIC * low
        if logarithmic:
            low, high = math.log(low), math.log(high)
        return cls(low, high if high > low else low + max(1.0, abs(low) / 1000), logarithmic)

    def row(self, value: float) -> int:
        place = (math.log(value) if self.logarithmic else value) / 2 - self.low / 2
        place /= self.high / 2 - self.low / 2  # halves, as the span of the largest numbers is none
        return HEIGHT - 1 - min(int(place * HEIGHT), HEIGHT - 1)

    def label(self, row: int) -> str:
        share = (HEIGHT - 1 - row) / (HEIGHT - 1)
        value = self.low * (1 - share) + self.high * share
        shown = math.exp(min(value, MOST_EXPONENT)) if self.logarithmic else value
        return f"{shown:.3g}" if row in (0, HEIGHT // 2, HEIGHT - 1) else ""


def _columns(steps: Sequence[float], values: Sequence[float], width: int) -> list[_Column]:
    found = [_Column()] * width
    for column, places in groupby(range(len(steps)), lambda n: _column(steps, steps[n], width)):
        found[column] = _Column.of([values[n] for n in places])
    return found


def _column(steps: Sequence[float], step: float, width: int) -> int:
    place = (step - steps[0]) / (steps[-1] - steps[0])
    return min(max(int(place * width), 0), width - 1)


def _row(columns: Sequence[_Column], scale: _Scale, row: int, signs: dict[str, str]) -> str:
    return "".join(_sign(column, scale, row, signs) for column in columns)


def _sign(column: _Column, scale: _Scale, row: int, signs: dict[str, str]) -> str:
    if column.broken and row == 0:
        return signs["gap"]
    if math.isnan(column.median):
        return " "
    if scale.row(column.median) == row:
        return signs["point"]
    return signs["line"] if scale.row(column.high) <= row <= scale.row(column.low) else " "


def _ends(steps: Sequence[float], width: int) -> str:
    first, last = f"step {steps[0]:.0f}", f"{steps[-1]:.0f}"
    return f"{first}{last:>{max(width - len(first), len(last) + 1)}}"


def _marks(steps: Sequence[float], marks: Sequence[float], width: int, sign: str) -> list[str]:
    """A line for each mark, with its step beside it."""
    lines = []
    for mark in sorted(set(marks)):
        column = _column(steps, mark, width)
        label = f"step {mark:.0f}"
        beside = f"{' ' * column}{sign} {label}"
        lines.append(beside if len(beside) <= width else f"{label} {sign}".rjust(column + 1))
    return lines
