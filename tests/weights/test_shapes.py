from collections.abc import Callable
from pathlib import Path

import torch

from doctor.signature import SCALE_SHAPES, Scale
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.measure import measure
from doctor.weights.observation import Observation
from doctor.weights.shapes import SHAPES, position

Save = Callable[..., Path]


def found(shape: str, tensors: Observation, pattern: str = "", **limits: float) -> list[str]:
    scale = Scale(shape, pattern, "std", {**SCALE_SHAPES[shape].limits, **limits})
    return [member.line for one in SHAPES[shape](tensors, scale) for member in one.members]


def observe(path: Path, **more: object) -> Observation:
    return Observation(tuple(measure(open_checkpoint(path).entries)[0]), **more)  # type: ignore[arg-type]


def test_every_shape_of_the_loader_has_code() -> None:
    assert SHAPES.keys() == SCALE_SHAPES.keys()


def test_nonfinite_names_the_first_position(save: Save) -> None:
    bad = torch.randn(4, 8, 16)
    bad[1, 2, 3], bad[3, 0, 0] = float("nan"), float("inf")
    lines = found("nonfinite", observe(save({"a.weight": bad, "b.weight": torch.ones(3)})))
    assert lines == ["a.weight  1 NaN, 1 Inf of 512, the first at [1, 2, 3]"]


def test_position() -> None:
    assert position(1 * 8 * 16 + 2 * 16 + 3, (4, 8, 16)) == (1, 2, 3)
    assert position(0, ()) == ()


def test_dead_matrices_but_not_biases_norms_or_lora(save: Save) -> None:
    zeros = torch.zeros(32, 32)
    folder = save(
        {
            "layers.0.mlp.up_proj.weight": zeros,
            "layers.1.mlp.up_proj.weight": torch.randn(32, 32),
            "layers.0.mlp.up_proj.bias": torch.zeros(4096),
            "layers.0.norm.weight": torch.zeros(4096),
            "layers.0.q_proj.lora_B.weight": zeros.clone(),
        }
    )
    assert found("dead", observe(folder)) == ["layers.0.mlp.up_proj.weight  all 1,024 elements are 0"]


def test_duplicates_are_compared_byte_by_byte(save: Save) -> None:
    same, other = torch.randn(64, 64), torch.randn(64, 64)
    folder = save(
        {
            "layers.0.up.weight": same,
            "layers.3.up.weight": same.clone(),
            "layers.5.up.weight": other,
            "layers.0.down.weight": same.clone(),
        }
    )
    assert found("duplicate", observe(folder)) == ["layers.3.up.weight  the same numbers as layers.0.up.weight"]
    assert found("duplicate", observe(folder, same_bytes=lambda one, other: False)) == []


def test_untrained_adapters_all_and_in_part(save: Save) -> None:
    zero, trained = torch.zeros(64, 4), torch.randn(64, 4)
    all_zero = observe(save({f"l.{i}.lora_B.weight": zero.clone() for i in range(3)}, name="all"))
    in_part = observe(save({"l.0.lora_B.weight": zero, "l.1.lora_B.weight": trained}, name="part"))
    assert len(found("untrained", all_zero)) == 3
    assert found("untrained", all_zero, least_share=0, most_share=0.9) == []
    assert found("untrained", in_part) == []
    assert found("untrained", in_part, least_share=0, most_share=0.9) == ["l.0.lora_B.weight  all zero"]


def test_against_a_base(save: Save) -> None:
    weights = {"l.0.up.weight": torch.randn(32, 32), "l.1.up.weight": torch.randn(32, 32)}
    base = {one.name: one for one in observe(save(weights, name="base")).tensors}
    same = observe(save(weights, name="same"), base=base)
    grown = observe(save({**weights, "l.1.up.weight": weights["l.1.up.weight"] * 3}, name="grown"), base=base)
    assert len(found("base-same", same)) == 2
    assert found("base-same", grown) == []
    assert found("base-ratio", same) == []
    assert [line.split(",")[1].split("'")[0] for line in found("base-ratio", grown)] == [" 3.00 x the base"]
    assert found("base-same", observe(save(weights, name="none"))) == []
