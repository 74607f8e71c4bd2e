"""Files that a configuration names."""

import json
from pathlib import Path

import pytest

from doctor.config.linked import linked
from doctor.config.read import parse, read
from doctor.errors import ConfigError
from doctor.facts import Fact


def test_deepspeed_beside_the_configuration(tmp_path: Path) -> None:
    stage = tmp_path / "zero3.json"
    stage.write_text('{\n  "zero_optimization": {\n    "stage": 3\n  }\n}\n')
    run = tmp_path / "run.yaml"
    run.write_text("base_model: x\ndeepspeed: zero3.json\n")
    assert linked(read(run)) == {"config.deepspeed.zero_optimization.stage": Fact(3, str(stage), 3)}


def test_local_base_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config = folder / "config.json"
    config.write_text(json.dumps({"model_type": "gemma4", "text_config": {"enable_moe_block": True}}))
    assert linked(parse(f"base_model: {folder}\n", "run.yaml")) == {
        "config.model_config_type": Fact("gemma4", str(config)),
        "config.text_config.enable_moe_block": Fact(value=True, path=str(config)),
    }


def test_what_is_not_there_says_nothing() -> None:
    assert linked(parse("base_model: meta-llama/Llama-3.1-8B\ndeepspeed: elsewhere/zero2.json\n", "run.yaml")) == {}


def test_a_broken_deepspeed_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"zero_optimization": ')
    run = tmp_path / "run.yaml"
    run.write_text("base_model: x\ndeepspeed: ds.json\n")
    with pytest.raises(ConfigError, match=r"ds\.json:1: not valid YAML"):
        linked(read(run))
