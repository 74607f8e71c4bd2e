"""The samples of scale signatures: an observation written as lines of text.

model.layers.36.linear_attn.conv1d.weight std=0.101870 shape=8192x1x4
model.layers.3.mlp.experts.down_proj expert=17 std=0.2
base model.norm.weight std=1.0
config tie_word_embeddings=false vocab_size=32000 architectures=LlamaForCausalLM
adapter
fault truncated model-00002-of-00004.safetensors is cut short
unmeasured model.layers.0.mlp.weight dtype F4 is packed
"""

import json
import math
from dataclasses import replace
from pathlib import Path

from doctor.errors import SignatureError
from doctor.weights.dtypes import DTYPES
from doctor.weights.entries import Fault, FaultKind, Unmeasured
from doctor.weights.layers import place_of
from doctor.weights.measure import Measured
from doctor.weights.moments import Moments, merge
from doctor.weights.observation import Observation

FILE = Path("model.safetensors")
SHAPE = (256, 256)
COUNTS = ("nan", "inf", "zeros")


def parse_sample(text: str) -> Observation:
    """The observation that a sample describes; SignatureError names the line that can't be read."""
    tensors: dict[str, Measured] = {}
    base: dict[str, Measured] = {}
    faults: list[Fault] = []
    unmeasured: list[Unmeasured] = []
    config: dict[str, object] = {}
    is_adapter = False
    for line in filter(None, map(str.strip, text.splitlines())):
        kind, _, rest = line.partition(" ")
        if kind == "base":
            _add(base, rest)
        elif kind == "config":
            config |= dict(_setting(pair, line) for pair in rest.split())
        elif kind == "fault":
            faults.append(_fault(rest, line))
        elif kind == "unmeasured":
            unmeasured.append(Unmeasured(rest.split()[0], FILE, rest.partition(" ")[2]))
        elif line == "adapter":
            is_adapter = True
        else:
            _add(tensors, line)
    return Observation(
        tuple(tensors.values()), tuple(faults), tuple(unmeasured), config, is_adapter, base=base if base else None
    )


def _setting(pair: str, line: str) -> tuple[str, object]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise SignatureError(f'sample line "{line}": expected key=value')
    if key == "architectures":
        return key, [value]
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _fault(rest: str, line: str) -> Fault:
    kind, _, after = rest.partition(" ")
    file, _, detail = after.partition(" ")
    if kind not in list(FaultKind) or not file:
        raise SignatureError(
            f'sample line "{line}": expected fault KIND FILE DETAIL, KIND one of {", ".join(FaultKind)}'
        )
    return Fault(FaultKind(kind), Path(file), detail)


def _add(tensors: dict[str, Measured], line: str) -> None:
    """Add a tensor, or one more expert of the stack that the line before began."""
    name, *pairs = line.split()
    values = dict(pair.partition("=")[::2] for pair in pairs)
    try:
        expert = values.pop("expert", None)
        tensor = _measured(name, values)
    except ValueError as fault:
        raise SignatureError(f'sample line "{line}": {fault}') from None
    if expert is None:
        tensors[name] = tensor
        return
    experts = (*(tensors[name].experts if name in tensors else ()), tensor.moments)
    shape = (len(experts), *tensor.shape)
    tensors[name] = replace(tensor, shape=shape, experts=experts, moments=merge(experts))


def _measured(name: str, values: dict[str, str]) -> Measured:
    dtype = values.pop("dtype", "BF16")
    shape = tuple(int(size) for size in values.pop("shape", "x".join(map(str, SHAPE))).split("x"))
    if dtype not in DTYPES:
        raise ValueError(f"{dtype} is not a dtype")
    place = place_of(name)
    return Measured(FILE, name, dtype, shape, place.layer, place.role, _moments(values, math.prod(shape)))


def _moments(values: dict[str, str], count: int) -> Moments:
    std, mean = float(values.pop("std", "0.02")), float(values.pop("mean", "0"))
    absmax = float(values.pop("absmax", 4 * std))
    nan, inf, zeros = (count if (value := values.pop(key, "0")) == "all" else int(value) for key in COUNTS)
    if values:
        raise ValueError(
            f"unknown key {next(iter(values))}; known are std, mean, absmax, nan, inf, zeros, shape, dtype and expert"
        )
    if zeros == count:
        return Moments(count, zeros=count)
    return Moments(count, mean, std * std * max(count - 1, 0), absmax, nan, inf, zeros, 0 if nan or inf else None)
