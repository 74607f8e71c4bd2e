"""The shapes that scale signatures name, each a function of an observation and the signature's limits."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import regex

from doctor.signature import Scale
from doctor.weights import drift, structure
from doctor.weights.layers import TensorRole, place_of
from doctor.weights.measure import Measured
from doctor.weights.observation import Found, Member, Observation, limit, member, selected, statistic


def nonfinite(observation: Observation, scale: Scale) -> list[Found]:
    """Float tensors with NaN or Inf, those with the most first."""
    floats = [tensor for tensor in selected(observation, scale) if tensor.moments.first is not None]
    floats.sort(key=lambda tensor: -(tensor.moments.nan + tensor.moments.inf))
    members = tuple(member(tensor, _nonfinite_line(tensor)) for tensor in floats)
    return [Found(members, len(observation.tensors))] if members else []


def _nonfinite_line(tensor: Measured) -> str:
    found = tensor.moments
    first = ", ".join(map(str, position(found.first or 0, tensor.shape)))
    counts = ", ".join(f"{count:,} {word}" for count, word in ((found.nan, "NaN"), (found.inf, "Inf")) if count)
    return f"{counts} of {found.count:,}, the first at [{first}]"


def position(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of an element in each dimension, from its index in the flat array."""
    place = []
    for size in reversed(shape):
        index, at = divmod(index, size)
        place.append(at)
    return tuple(reversed(place))


def dead(observation: Observation, scale: Scale) -> list[Found]:
    """Weight matrices that hold nothing but zeros. LoRA matrices start so and are judged as adapters."""
    able = [tensor for tensor in selected(observation, scale) if _can_be_dead(tensor)]
    members = tuple(
        member(tensor, f"all {tensor.moments.count:,} elements are 0")
        for tensor in able
        if tensor.moments.zeros == tensor.moments.count
    )
    return [Found(members, len(able))] if members else []


def _can_be_dead(tensor: Measured) -> bool:
    is_weight = tensor.name.endswith("weight") or bool(tensor.experts)
    return is_weight and tensor.is_weight and tensor.role not in drift.LORA and drift.is_matrix(tensor.shape)


def duplicate(observation: Observation, scale: Scale) -> list[Found]:
    """Matrices of different layers (or experts) that hold the same numbers."""
    able = [tensor for tensor in selected(observation, scale) if _can_be_duplicate(tensor, int(limit(scale, "least")))]
    alike: dict[tuple[object, ...], list[Measured]] = {}
    for tensor in able:
        place = place_of(tensor.name)
        key = (regex.sub(r"(?<=^|\.)\d+(?=\.|$)", "*", place.stack), tensor.shape, tensor.dtype, tensor.moments)
        alike.setdefault(key, []).append(tensor)
    members = tuple(one for group in alike.values() for one in _copies(group, observation))
    return [Found(members, len(able))] if members else []


def _can_be_duplicate(tensor: Measured, least: int) -> bool:
    varies = tensor.moments.m2 > 0 and tensor.moments.count >= least
    return tensor.is_weight and tensor.layer is not None and varies and _can_be_dead(tensor)


def _copies(group: list[Measured], observation: Observation) -> Iterator[Member]:
    first, *rest = group
    for tensor in rest:
        if observation.same_bytes(first.name, tensor.name):
            yield member(tensor, f"the same numbers as {first.name}")


def untrained(observation: Observation, scale: Scale) -> list[Found]:
    """LoRA B matrices that are still zero, if their share of all of them lies within the limits."""
    able = [
        tensor for tensor in selected(observation, scale) if tensor.role is TensorRole.LORA_B and tensor.moments.count
    ]
    zero = [tensor for tensor in able if tensor.moments.zeros == tensor.moments.count]
    if not zero or not limit(scale, "least_share") <= len(zero) / len(able) <= limit(scale, "most_share"):
        return []
    return [Found(tuple(member(tensor, "all zero") for tensor in zero), len(able))]


def base_same(observation: Observation, scale: Scale) -> list[Found]:
    """Nothing differs from the base: every tensor that both have holds the same numbers."""
    base = observation.base or {}
    both = [tensor for tensor in selected(observation, scale) if tensor.name in base]
    if not both or any(differs(tensor, base[tensor.name]) for tensor in both):
        return []
    return [Found(tuple(islice((member(tensor, "as in the base") for tensor in both), 3)), len(both))]


def differs(tensor: Measured, base: Measured) -> bool:
    """Whether two measurements can't be of the same numbers."""
    mine, other = tensor.moments, base.moments
    if math.isnan(mine.mean) and math.isnan(other.mean):
        return (mine.nan, mine.inf, mine.zeros, mine.first) != (other.nan, other.inf, other.zeros, other.first)
    return mine != other


def base_ratio(observation: Observation, scale: Scale) -> list[Found]:
    """Matrices whose statistic is more than ``ratio`` times that of the base, or less than 1/ratio of it."""
    base, threshold = observation.base or {}, limit(scale, "ratio")
    found, both = [], 0
    for tensor in selected(observation, scale):
        if tensor.name not in base or not tensor.is_weight or tensor.is_scaled or not drift.is_matrix(tensor.shape):
            continue
        both += 1
        mine, other = statistic(tensor.moments, scale.statistic), statistic(base[tensor.name].moments, scale.statistic)
        if mine > 0 and other > 0 and not 1 / threshold <= mine / other <= threshold:
            found.append(
                (
                    abs(math.log(mine / other)),
                    member(tensor, f"{scale.statistic} {mine:.6g}, {mine / other:.2f} x the base's {other:.6g}"),
                )
            )
    found.sort(key=lambda pair: -pair[0])
    return [Found(tuple(one for _, one in found), both)] if found else []


Shape = Callable[[Observation, Scale], list[Found]]

SHAPES: Mapping[str, Shape] = {
    "nonfinite": nonfinite,
    "drift": drift.drift,
    "outlier": drift.outlier,
    "expert-outlier": drift.expert_outlier,
    "dead": dead,
    "dead-expert": drift.dead_expert,
    "duplicate": duplicate,
    "untrained": untrained,
    "head-missing": structure.head_missing,
    "head-untied": structure.head_untied,
    "misfit": structure.misfit,
    "prefix": structure.prefix,
    "unmeasured": structure.unmeasured,
    "fault": structure.fault,
    "base-same": base_same,
    "base-ratio": base_ratio,
}
