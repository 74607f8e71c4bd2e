import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from doctor.signature import Scale
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.drift import drift, expert_outlier, outlier, upper_median
from doctor.weights.measure import measure
from doctor.weights.observation import Group, Observation
from doctor.weights.repair import plan
from doctor.weights.rescale import multiplied
from doctor.weights.samples import parse_sample

Save = Callable[..., Path]
RULE = Scale("drift", r"linear_attn\.conv1d\.weight", "std", {"threshold": 1.3, "least": 3})
OUTLIER = Scale("outlier", "", "std", {"z": 8.0, "ratio": 2.5, "least": 8, "edge": 2})
EXPERTS = Scale("expert-outlier", "", "std", {"z": 10.0, "ratio": 2.0, "least": 8})


def observe(path: Path) -> Observation:
    return Observation(tuple(measure(open_checkpoint(path).entries, precise=lambda name: True)[0]))


def group_of(path: Path, rule: Scale = RULE) -> Group | None:
    found = drift(observe(path), rule)
    return found[0].group if found else None


def test_the_published_numbers(save: Save, published: dict[str, torch.Tensor]) -> None:
    group = group_of(save(published))
    assert group is not None
    assert len(group.values) == 30
    assert f"{group.centre:.6f}" == "0.062733"
    found = {place.tensor.split(".")[3]: (f"{place.value:.6f}", f"{place.ratio:.2f}") for place in group.outliers}
    assert found == {"36": ("0.101870", "1.62"), "37": ("0.102362", "1.63"), "38": ("0.089227", "1.42")}


def straight(tensors: dict[str, torch.Tensor], threshold: float) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """The published rule as plainly as it can be written: factors by name, and the repaired tensors."""
    stds = {name: tensor.float().std().item() for name, tensor in tensors.items()}
    if len(stds) < 3:
        return {}, tensors
    centre = sorted(stds.values())[len(stds) // 2]
    factors = {
        name: centre / std for name, std in stds.items() if std / centre > threshold or std / centre < 1 / threshold
    }
    return factors, {
        name: tensor.clone().mul_(factors[name]) if name in factors else tensor for name, tensor in tensors.items()
    }


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
    stds=st.lists(st.floats(0.01, 0.2), min_size=1, max_size=9),
    count=st.sampled_from([2, 63, 4096, 70_000]),
    seed=st.integers(0, 1000),
)
def test_agrees_with_a_straight_reference(
    tmp_path_factory: pytest.TempPathFactory, dtype: torch.dtype, stds: list[float], count: int, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.safetensors"
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"layers.{i}.linear_attn.conv1d.weight": (torch.randn(count, generator=generator) * std).to(dtype)
        for i, std in enumerate(stds)
    }
    save_file(tensors, path)
    checkpoint = open_checkpoint(path)
    found = drift(observe(path), RULE)
    planned = {one.name: one.factor for one in plan(checkpoint, [one.group for one in found if one.group]).rescales}
    factors, repaired = straight(tensors, 1.3)
    assert planned.keys() == factors.keys()
    name_of = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
    for entry in checkpoint.entries:
        if entry.name in factors:
            assert planned[entry.name] == pytest.approx(factors[entry.name], rel=1e-6)
            written = torch.frombuffer(
                bytearray(
                    multiplied(
                        tensors[entry.name].view(torch.uint8).numpy().tobytes(), entry.dtype, planned[entry.name]
                    )
                ),
                dtype=name_of[entry.dtype],
            )
            assert within_one_unit(written, repaired[entry.name])


def within_one_unit(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether elements differ by at most one unit in the last place: neighbours in the order of their bits."""
    kind = torch.int32 if one.element_size() == 4 else torch.int16
    return bool((one.view(kind).long() - other.view(kind).long()).abs().max() <= 1)


@pytest.mark.parametrize("count", [1, 2])
def test_small_groups_are_left_alone(save: Save, count: int) -> None:
    folder = save({f"layers.{i}.linear_attn.conv1d.weight": torch.randn(64) * 10**i for i in range(count)})
    assert drift(observe(folder), RULE) == []


def test_zero_nan_and_single_elements_are_skipped_with_a_reason(save: Save) -> None:
    nan = torch.randn(64)
    nan[3] = float("nan")
    tensors = {
        f"layers.{i}.linear_attn.conv1d.weight": torch.randn(64, generator=torch.Generator().manual_seed(i))
        for i in range(3)
    }
    tensors |= {
        "layers.3.linear_attn.conv1d.weight": torch.zeros(64),
        "layers.4.linear_attn.conv1d.weight": nan,
        "layers.5.linear_attn.conv1d.weight": torch.ones(1),
        "layers.6.linear_attn.conv1d.weight": torch.ones(64).to(torch.float8_e4m3fn),
        "layers.7.linear_attn.conv1d.weight": torch.ones(64, dtype=torch.int32),
    }
    group = group_of(save(tensors))
    assert group is not None
    assert len(group.values) == 3
    assert {name.split(".")[1]: reason for name, reason in group.excluded} == {
        "3": "is constant (its deviation is 0)",
        "4": "holds NaN or Inf",
        "5": "has too few elements for a standard deviation",
        "6": "F8_E4M3 is scaled by another tensor, so its own numbers compare with nothing",
        "7": "I32 linear_attention holds no weights to compare",
    }


def test_upper_median() -> None:
    assert upper_median([3.0, 1.0, 2.0]) == 2.0
    assert upper_median([4.0, 1.0, 3.0, 2.0]) == 3.0


def lines(stds: list[float], name: str = "model.layers.{}.mlp.up_proj.weight") -> Observation:
    return parse_sample("\n".join(f"{name.format(i)} std={std}" for i, std in enumerate(stds)))


def test_an_outlier_stands_off_the_trend_over_depth() -> None:
    trend = [0.02 * 1.15**i for i in range(16)]
    trend[9] *= 4
    found = outlier(lines(trend), OUTLIER)
    assert [member.tensor for one in found for member in one.members] == ["model.layers.9.mlp.up_proj.weight"]
    assert float(found[0].worst) == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(
    "stds",
    [
        [0.02 * 1.15**i for i in range(16)],
        [0.02 + 0.001 * math.sin(i) for i in range(16)],
        [0.09] + [0.02] * 14 + [0.07],
        [0.02, 0.05, 0.01, 0.04, 0.012, 0.03, 0.06, 0.011, 0.045, 0.02],
        [0.02] * 4 + [0.09] + [0.02] * 2,
    ],
    ids=["trend", "waves", "first and last", "all over the place", "few"],
)
def test_layers_without_outliers(stds: list[float]) -> None:
    assert outlier(lines(stds), OUTLIER) == []


def test_norms_and_biases_are_not_compared() -> None:
    norms = parse_sample(
        "\n".join(f"model.layers.{i}.input_layernorm.weight std={9 if i == 5 else 1} shape=64" for i in range(12))
    )
    assert outlier(norms, OUTLIER) == []


def test_an_expert_out_of_line_in_a_stack_and_apart() -> None:
    stack = "\n".join(
        f"model.layers.3.mlp.experts.down_proj expert={i} std={0.09 if i == 5 else 0.02 + i / 1e4}" for i in range(16)
    )
    apart = "\n".join(
        f"model.layers.4.mlp.experts.{i}.up_proj.weight std={0.005 if i == 7 else 0.02 + i / 1e4}" for i in range(16)
    )
    found = expert_outlier(parse_sample(f"{stack}\n{apart}"), EXPERTS)
    assert [member.line.split("  ")[0] for one in found for member in one.members] == [
        "model.layers.3.mlp.experts.down_proj expert 5",
        "model.layers.4.mlp.experts.*.up_proj.weight expert 7",
    ]
