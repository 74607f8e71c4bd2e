import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from doctor.catalog import Catalog
from doctor.errors import CheckpointError
from doctor.weights.compare import Status
from doctor.weights.inspection import group_rows, inspect, plan_rows
from doctor.weights.rules import parse_rule

Save = Callable[..., Path]

HEALTHY = ("fresh", "trained")


def ids(path: Path, catalog: Catalog, **options: object) -> list[str]:
    return [finding.id for finding in inspect(path, catalog, **options).findings]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", HEALTHY)
def test_silent_on_healthy_checkpoints(kind: str, fixtures: Path, bundled: Catalog) -> None:
    folders = sorted((fixtures / kind).iterdir())
    assert len(folders) >= 5
    assert {folder.name: ids(folder, bundled) for folder in folders} == {folder.name: [] for folder in folders}


def test_adapters(fixtures: Path, bundled: Catalog) -> None:
    assert ids(fixtures / "adapters" / "trained", bundled) == []
    assert ids(fixtures / "adapters" / "untrained", bundled) == ["peft/adapter-never-trained"]


def test_against_the_base(fixtures: Path, bundled: Catalog) -> None:
    trained, base = fixtures / "trained" / "llama", fixtures / "trained" / "llama-base"
    assert ids(trained, bundled, base=base) == []
    assert ids(base, bundled, base=base) == ["weights/base-unchanged"]
    statuses = {change.status for change in inspect(trained, bundled, base=base).changes}
    assert Status.CHANGED in statuses
    with pytest.raises(CheckpointError, match="has no tensor name in common"):
        inspect(trained, bundled, base=fixtures / "fresh" / "gpt2")


def test_the_published_rule_end_to_end(save: Save, published: dict[str, torch.Tensor], bundled: Catalog) -> None:
    found = inspect(save(published, {"model.norm.weight": torch.ones(8)}), bundled)
    (finding,) = found.findings
    assert (finding.id, finding.count, finding.captures["layers"], finding.captures["centre"]) == (
        "moe/weight-scale-drift",
        3,
        "36-38",
        "0.062733",
    )
    (group,) = group_rows(found.groups)
    assert (group["members"], group["threshold"], len(group["outliers"])) == (30, 1.3, 3)  # type: ignore[arg-type]
    assert [(row["tensor"], f"{row['factor']:.4f}") for row in plan_rows(found.plan)] == [
        ("model.language_model.layers.37.linear_attn.conv1d.weight", "0.6129"),
        ("model.language_model.layers.36.linear_attn.conv1d.weight", "0.6158"),
        ("model.language_model.layers.38.linear_attn.conv1d.weight", "0.7031"),
    ]
    json.dumps([group, plan_rows(found.plan)])


def test_rules_judge_alone_and_read_only_what_they_need(
    save: Save, published: dict[str, torch.Tensor], bundled: Catalog
) -> None:
    bad = torch.full((64, 64), float("nan"))
    folder = save({**published, "model.layers.0.mlp.up_proj.weight": bad})
    found = inspect(folder, bundled, [parse_rule("conv1d=1.5")])
    assert [(finding.id, finding.count) for finding in found.findings] == [("weights/scale-drift", 2)]
    assert found.nbytes == sum(tensor.nbytes for tensor in published.values())
    assert ids(folder, bundled, rules=[parse_rule(r"linear_attn\.conv1d\.weight=1.3")]) == ["moe/weight-scale-drift"]


def test_rules_that_look_at_nothing_are_refused_and_small_groups_are_named(save: Save, bundled: Catalog) -> None:
    folder = save({"a.q_proj.weight": torch.randn(8), "b.q_proj.weight": torch.randn(8)})
    with pytest.raises(CheckpointError, match='no tensor name has "conv1d" in it'):
        inspect(folder, bundled, [parse_rule("conv1d=1.5")])
    found = inspect(folder, bundled, [parse_rule("q_proj=1.5")])
    assert (found.findings, found.skipped) == ((), (("q_proj", "2 tensors are no group; fewer than 3 are left alone"),))


def test_damage_to_a_part_is_a_finding_and_the_rest_is_judged(
    save: Save, published: dict[str, torch.Tensor], bundled: Catalog
) -> None:
    folder = save(published, {"z.weight": torch.ones(64)})
    second = folder / "model-00002-of-00002.safetensors"
    second.write_bytes(second.read_bytes()[:-9])
    found = inspect(folder, bundled)
    assert [finding.id for finding in found.findings] == ["moe/weight-scale-drift", "weights/shard-truncated"]
    assert found.plan.rescales == ()
    assert {skipped.reason for skipped in found.plan.skipped} == {"the checkpoint is damaged; mend that first"}


def test_packed_weights_are_never_clean(save: Save, bundled: Catalog) -> None:
    folder = save(
        {
            "a.weight": torch.ones(8, dtype=torch.uint8),
            "a.weight.absmax": torch.ones(2),
            "b.qweight": torch.ones(8, dtype=torch.int32),
        }
    )
    found = inspect(folder, bundled)
    assert [(finding.id, finding.count) for finding in found.findings] == [("weights/not-measured", 2)]
    assert dict(found.skipped) == {
        "a.weight": "quantised weights of bitsandbytes, packed into 4 bits",
        "b.qweight": "quantised weights, packed into I32",
    }


def test_facts_come_from_the_config(fixtures: Path, bundled: Catalog) -> None:
    facts = inspect(fixtures / "fresh" / "qwen3_5_moe", bundled).facts
    assert facts["model.type"].value == "qwen3_5_moe_text"
    assert "version.transformers" in facts


def test_every_float_dtype_is_measured(save: Save, bundled: Catalog) -> None:
    names = ("bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
    folder = save({name: torch.rand(32).to(getattr(torch, name)) for name in names})
    assert {one.name for one in inspect(folder, bundled).measured} == set(names)
