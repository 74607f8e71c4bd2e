"""What is drawn in a report, as plain text: metric series, a chart for each group of drifting tensors, the plan."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from doctor.render.plot import plot
from doctor.report import Report

WIDTH = 36
MOST_ROWS = 48
AROUND = 2  # rows shown on each side of an outlier where not all fit


def drawn(report: Report) -> list[list[str]]:
    """The blocks of lines to show below the findings: metric series, charts of weights, the plan, what was written."""
    plots = [plot(one.name, one.steps, one.values, one.marks).splitlines() for one in report.plots]
    charts = [chart(group) for group in report.groups if group["outliers"]]
    return [block for block in (*plots, *charts, plan(report)) if block]


def plan(report: Report) -> list[str]:
    """The plan, two lines a tensor, and where its result lies."""
    if not report.plan:
        return []
    lines: list[str] = []
    file = None
    for row in report.plan:
        if row["file"] != file:
            file = row["file"]
            lines.append(f"to rescale in {file}")
        lines.append(f"  {row['tensor']}")
        lines.append(f"    std {row['std']:.6f}, ratio {row['ratio']:.2f}, factor {row['factor']:.6f}")
    return [*lines, f"Written: {report.written}" if report.written else "Nothing was written."]


def chart(group: Mapping[str, Any]) -> list[str]:
    """The lines of a chart for one row of the report's ``groups``; empty for a group without values."""
    values: Sequence[tuple[str, int | None, float]] = group["values"]
    if not values:
        return []
    ratios = {one["tensor"]: one["ratio"] for one in group["outliers"]}
    limits = (group["centre"] / group["threshold"], group["centre"] * group["threshold"])
    top = max(*(value for _, _, value in values), limits[1]) * 1.02
    return [
        f"{group['statistic']} of {group['pattern']}, {len(values)} tensors",
        f"centre {group['centre']:.6f}, limits {limits[0]:.6f} to {limits[1]:.6f} ({group['threshold']:g} x), marked |",
        *_rows(values, ratios, limits, top),
    ]


def _rows(
    values: Sequence[tuple[str, int | None, float]],
    ratios: Mapping[str, float],
    limits: tuple[float, float],
    top: float,
) -> Iterator[str]:
    shown = _shown([name in ratios for name, _, _ in values])
    width = max(len(_label(name, layer)) for name, layer, _ in values)
    hidden: list[float] = []
    for i, (name, layer, value) in enumerate(values):
        if i not in shown:
            hidden.append(value)
            continue
        if hidden:
            yield _gap(hidden, width)
            hidden = []
        mark = f"  {ratios[name]:.2f} x <--" if name in ratios else ""
        yield f"{_label(name, layer):>{width}} {value:.6f} {_bar(value, limits, top)}{mark}"
    if hidden:
        yield _gap(hidden, width)


def _shown(outliers: Sequence[bool]) -> set[int]:
    """The rows to show: all if they fit, else the first, the last, and those around outliers."""
    count = len(outliers)
    if count <= MOST_ROWS:
        return set(range(count))
    near = {j for i, out in enumerate(outliers) if out for j in range(i - AROUND, i + AROUND + 1)}
    return {0, count - 1, *near}


def _gap(hidden: Sequence[float], width: int) -> str:
    return f"{'...':>{width}} {len(hidden)} more, {min(hidden):.6f} to {max(hidden):.6f}"


def _label(name: str, layer: int | None) -> str:
    return f"layer {layer}" if layer is not None else name


def _bar(value: float, limits: tuple[float, float], top: float) -> str:
    filled = round(value / top * WIDTH)
    cells = ["#" if i < filled else " " for i in range(WIDTH)]
    for limit in limits:
        at = min(round(limit / top * WIDTH), WIDTH - 1)
        cells[at] = "|"
    return "".join(cells).rstrip().ljust(min(WIDTH, round(limits[1] / top * WIDTH) + 1))
