"""Tensors that drifted from their group: the published rule, outliers from the trend over depth and among experts."""

import math
import statistics
from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from doctor.signature import Scale
from doctor.weights.layers import TensorRole, place_of
from doctor.weights.measure import Measured
from doctor.weights.moments import Moments
from doctor.weights.observation import Found, Group, Member, Observation, Outlier, limit, member, selected, statistic

MAD_TO_STD = 1.4826  # for a normal distribution
SPREAD_FLOOR = 0.02  # of a logarithm: tensors that agree to 2 % agree
EXPERT_FLOOR = 0.03
LEAST_ELEMENTS = 256


def drift(observation: Observation, scale: Scale) -> list[Found]:
    """The rule of axolotl's normalize_weight_scales: all tensors that the pattern finds are one group.

    The centre is the upper median of the standard deviations in float32; a tensor is out of line where its deviation is
    more than ``threshold`` times the centre, or less than its inverse. Fewer than ``least`` tensors are left alone.
    """
    included, excluded = _comparable(selected(observation, scale), scale.statistic)
    values = {tensor.name: _float32(statistic(tensor.moments, scale.statistic)) for tensor in included}
    if not included or len(included) < limit(scale, "least"):
        return []
    centre = upper_median(values.values())
    threshold = limit(scale, "threshold")
    out = [tensor for tensor in included if not 1 / threshold <= values[tensor.name] / centre <= threshold]
    out.sort(key=lambda tensor: -abs(math.log(values[tensor.name] / centre)))
    outliers = tuple(_outlier(tensor, values[tensor.name], centre) for tensor in out)
    group = Group(
        scale.pattern, scale.statistic, centre, threshold, _values(included, values), outliers, tuple(excluded)
    )
    members = tuple(
        _drift_member(tensor, outlier, scale.statistic) for tensor, outlier in zip(out, outliers, strict=True)
    )
    return [Found(members, len(included), f"{outliers[0].ratio:.2f}" if outliers else "", group)]


def upper_median(values: Collection[float]) -> float:
    """The element at n // 2 of the sorted values."""
    return sorted(values)[len(values) // 2]


def _float32(value: float) -> float:
    return float(np.float32(value))


def _comparable(tensors: list[Measured], name: str) -> tuple[list[Measured], list[tuple[str, str]]]:
    """The tensors whose statistic can be compared, and the names of the others with the reason."""
    kept, excluded = [], []
    for tensor in tensors:
        reason = _why_not(tensor, statistic(tensor.moments, name))
        if reason:
            excluded.append((tensor.name, reason))
        else:
            kept.append(tensor)
    return kept, excluded


def _why_not(tensor: Measured, value: float) -> str:
    if not tensor.is_weight:
        return f"{tensor.dtype} {tensor.role} holds no weights to compare"
    if tensor.is_scaled:
        return f"{tensor.dtype} is scaled by another tensor, so its own numbers compare with nothing"
    if tensor.moments.nan or tensor.moments.inf:
        return "holds NaN or Inf"
    if math.isnan(value):
        return "has too few elements for a standard deviation"
    return "is constant (its deviation is 0)" if value == 0 else "" if math.isfinite(value) else "overflows"


def _outlier(tensor: Measured, value: float, centre: float) -> Outlier:
    return Outlier(tensor.name, tensor.file, value, value / centre, centre / value)


def _drift_member(tensor: Measured, outlier: Outlier, name: str) -> Member:
    return member(tensor, f"{name} {outlier.value:.6f}, {outlier.ratio:.2f} x the centre")


def _values(tensors: list[Measured], values: dict[str, float]) -> tuple[tuple[str, int | None, float], ...]:
    rows = [(tensor.name, tensor.layer, values[tensor.name]) for tensor in tensors]
    return tuple(sorted(rows, key=lambda row: (-1 if row[1] is None else row[1], row[0])))


def outlier(observation: Observation, scale: Scale) -> list[Found]:
    """Matrices out of line with the same matrix in other layers, after the trend over depth is taken out.

    Of the logarithms of the statistic a line is fitted (Theil and Sen); what is ``z`` robust deviations and a factor of
    ``ratio`` away from it is an outlier. The first and last ``edge`` layers differ by nature and are not judged.
    """
    return [found for group in _layer_groups(observation, scale) if (found := _layer_outliers(group, scale)).members]


def _layer_groups(observation: Observation, scale: Scale) -> Iterator[list[Measured]]:
    groups: dict[tuple[str, tuple[int, ...], str], list[Measured]] = {}
    comparable, _ = _comparable(selected(observation, scale), scale.statistic)
    for tensor in comparable:
        place = place_of(tensor.name)
        if place.layer is not None and place.expert is None and is_matrix(tensor.shape) and tensor.role not in LORA:
            groups.setdefault((place.group, tensor.shape, tensor.dtype), []).append(tensor)
    for group in groups.values():
        if len(group) >= limit(scale, "least"):
            yield sorted(group, key=lambda tensor: tensor.layer or 0)


LORA = (TensorRole.LORA_A, TensorRole.LORA_B)


def is_matrix(shape: tuple[int, ...]) -> bool:
    """Whether two or more of its dimensions are larger than one, and it has enough elements for a deviation."""
    return sum(size > 1 for size in shape) > 1 and math.prod(shape) >= LEAST_ELEMENTS


def _layer_outliers(group: list[Measured], scale: Scale) -> Found:
    layers = np.array([tensor.layer for tensor in group], np.float64)
    logs = np.log([statistic(tensor.moments, scale.statistic) for tensor in group])
    residuals = logs - _trend(layers, logs)
    spread = max(MAD_TO_STD * float(np.median(np.abs(residuals))), SPREAD_FLOOR)
    edge = int(limit(scale, "edge"))
    far = (np.abs(residuals) > limit(scale, "z") * spread) & (np.abs(residuals) > math.log(limit(scale, "ratio")))
    order = [i for i in np.argsort(-np.abs(residuals)) if far[i] and edge <= i < len(group) - edge]
    members = tuple(
        member(
            group[i],
            f"{scale.statistic} {math.exp(logs[i]):.6g}, {math.exp(residuals[i]):.2f} x the trend of {len(group)}",
        )
        for i in order
    )
    return Found(members, len(group), f"{math.exp(residuals[order[0]]):.2f}" if order else "")


def _trend(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The line through the median slope of all pairs (Theil and Sen), at each x."""
    i, j = np.triu_indices(len(x), 1)
    distinct = x[i] != x[j]
    slope = float(np.median((y[j] - y[i])[distinct] / (x[j] - x[i])[distinct])) if distinct.any() else 0.0
    return slope * x + float(np.median(y - slope * x))


def expert_outlier(observation: Observation, scale: Scale) -> list[Found]:
    """Experts of a layer whose matrices are out of scale with those of the other experts."""
    found = []
    for label, file, experts in _expert_groups(observation, scale):
        members = _expert_members(label, file, experts, scale)
        if members:
            found.append(Found(tuple(members), len(experts)))
    return found


def _expert_groups(observation: Observation, scale: Scale) -> Iterator[tuple[str, Measured, list[tuple[int, Moments]]]]:
    """The experts of each layer and matrix: slices of a 3-D stack, or tensors whose names differ only in the expert."""
    apart: dict[str, list[Measured]] = {}
    for tensor in selected(observation, scale):
        if not tensor.is_weight or tensor.is_scaled:
            continue
        place = place_of(tensor.name)
        if tensor.experts:
            yield tensor.name, tensor, list(enumerate(tensor.experts))
        elif place.expert is not None and is_matrix(tensor.shape):
            apart.setdefault(place.stack, []).append(tensor)
    for stack, tensors in apart.items():
        yield stack, tensors[0], [(place_of(tensor.name).expert or 0, tensor.moments) for tensor in tensors]


def _expert_members(label: str, tensor: Measured, experts: list[tuple[int, Moments]], scale: Scale) -> list[Member]:
    values = {expert: statistic(moments, scale.statistic) for expert, moments in experts}
    logs = {expert: math.log(value) for expert, value in values.items() if 0 < value < math.inf}
    if len(logs) < limit(scale, "least"):
        return []
    centre = statistics.median(logs.values())
    spread = max(MAD_TO_STD * statistics.median(abs(one - centre) for one in logs.values()), EXPERT_FLOOR)
    least = max(limit(scale, "z") * spread, math.log(limit(scale, "ratio")))
    far = sorted(
        (expert for expert in logs if abs(logs[expert] - centre) > least),
        key=lambda expert: -abs(logs[expert] - centre),
    )
    return [
        _expert_member(label, tensor, expert, scale.statistic, values[expert], math.exp(logs[expert] - centre))
        for expert in far
    ]


def _expert_member(label: str, tensor: Measured, expert: int, name: str, value: float, ratio: float) -> Member:
    line = f"{label} expert {expert}  {name} {value:.6g}, {ratio:.2f} x the median of its layer's experts"
    return Member(tensor.file, tensor.name, line, tensor.layer)


def dead_expert(observation: Observation, scale: Scale) -> list[Found]:
    """Experts whose matrix is all zero while others of the layer are not."""
    found = []
    for label, tensor, experts in _expert_groups(observation, scale):
        dead = [expert for expert, moments in experts if moments.count and moments.zeros == moments.count]
        if dead and len(dead) < len(experts):
            line = f"{label} expert{'s' if len(dead) > 1 else ''} {', '.join(map(str, dead[:20]))}  all zero"
            found.append(Found((Member(tensor.file, tensor.name, line, tensor.layer),), len(experts)))
    return found
