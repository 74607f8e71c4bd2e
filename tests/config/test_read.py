"""Configurations read: formats, lines, and everything that is refused in one line."""

from pathlib import Path

import pytest

from doctor.config import read
from doctor.errors import ConfigError
from doctor.facts import Fact

CONFIGS = Path(__file__).parents[2] / "fixtures" / "config"


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("llama-lora.yaml", "axolotl"),
        ("resolved.log", "axolotl"),
        ("trainer.json", "transformers"),
        ("accelerate-ddp.yaml", "accelerate"),
        ("accelerate-fsdp2.yaml", "accelerate"),
    ],
)
def test_formats(name: str, format: str) -> None:
    assert read.read(CONFIGS / name).format == format


def test_deepspeed_is_told_by_its_keys() -> None:
    assert read.parse('{"zero_optimization": {"stage": 2}}', "ds.json").format == "deepspeed"


def test_facts_have_lines() -> None:
    text = "base_model: a/b\nfsdp_config:\n  fsdp_version: 2\ndatasets:\n  - path: x\n    type: y\nempty: {}\n"
    facts = read.facts_of(read.parse(text, "run.yaml"), {"world_size": Fact(4)})
    assert facts == {
        "config.base_model": Fact("a/b", "run.yaml", 1),
        "config.fsdp_config.fsdp_version": Fact(2, "run.yaml", 3),
        "config.datasets": Fact('[{"path": "x", "type": "y"}]', "run.yaml", 4),
        "config.datasets.0.path": Fact("x", "run.yaml", 5),
        "config.datasets.0.type": Fact("y", "run.yaml", 6),
        "config.empty": Fact(None, "run.yaml", 7),
        "config_format": Fact("axolotl"),
        "config_resolved": Fact(value=False),
        "framework": Fact("axolotl"),
        "world_size": Fact(4),
    }


def test_scalars_are_those_of_pyyaml() -> None:
    text = "base_model: x\na: yes\nb: Off\nc: 0x10\nd: &t true\ne: *t\nf: 1_000\ng: 'yes'\nh: y\n"
    table = read.parse(text, "run.yaml").table
    assert table == {
        "base_model": "x",
        "a": True,
        "b": False,
        "c": 16,
        "d": True,
        "e": True,
        "f": 1000,
        "g": "yes",
        "h": "y",
    }
    assert [type(value) for value in table.values()] == [str, bool, bool, int, bool, bool, int, str, str]


def test_merged_keys_have_the_line_of_the_table_that_merges_them() -> None:
    text = "base_model: x\nbase: &base\n  a: 1\nuse:\n  <<: *base\n  b: 2\n"
    facts = read.facts_of(read.parse(text, "run.yaml"), {})
    assert facts["config.use.a"] == Fact(1, "run.yaml", 4)


def test_json_with_tabs_and_escapes() -> None:
    text = '{\n\t"output_dir": "\\ud83d\\ude00 \\/",\n\t"per_device_train_batch_size": 2\n}\n'
    assert read.parse(text, "args.json").table == {"output_dir": "\U0001f600 /", "per_device_train_batch_size": 2}


def test_lines_of_a_dump_are_those_of_the_log() -> None:
    text = 'first\n[INFO] config:\n{\n  "base_model": "x"\n}\nafter: [\n'
    document = read.parse(text, "run.log")
    assert (document.table, document.lines, document.resolved) == ({"base_model": "x"}, {"base_model": 4}, True)


BOMB = "base_model: x\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}' if previous else '1'] * 9)}]\n"
    for previous, name in zip(["", *"abcdefg"], "abcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1\nb: }\n", "run.yaml:2: not valid YAML: expected ',' or ']', but got ':'; check quotes and indentation"),
        ("base_model: a\nb: 1\nbase_model: c\n", "run.yaml:3: the key base_model stands there twice; keep one"),
        ("a: *nowhere\n", "run.yaml:1: not valid YAML: found undefined alias 'nowhere'; check quotes and indentation"),
        (BOMB, "run.yaml: its aliases unfold to more than 10,000 values; write them out instead"),
        ("a: " + "[" * 5000, "run.yaml:1: nested more than 300 levels deep; check the brackets"),
        ("- " * 5000, "run.yaml:1: nested more than 300 levels deep; check the brackets"),
        ("\n".join(" " * i + "a:" for i in range(299)), "run.yaml: not valid YAML: maximum recursion depth exceeded"),
        (
            "a: [" + "1," * 20_000 + "]",
            "run.yaml: more than 10,000 values; no configuration has so many, so check the path",
        ),
        ("", "run.yaml: no configuration: the top of the file isn't a table of keys"),
        ("just words\n", "run.yaml: no configuration: the top of the file isn't a table of keys"),
        (
            "services:\n  web: {}\n",
            "run.yaml: none of its keys belongs to a configuration that doctor knows (axolotl, TrainingArguments, DeepSpeed, "
            "accelerate); give the file that the run was started with",
        ),
        ("a: \x07\n", "run.yaml: not valid YAML: unacceptable character #x0007: special characters are not allowed"),
    ],
)
def test_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read.parse(text, "run.yaml")
    assert str(caught.value)[: len(sentence)] == sentence
    assert "\n" not in str(caught.value)


def test_tags_run_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made"
    read.parse(f"base_model: x\na: !!python/object/apply:os.mkdir [{target}]\n", "run.yaml")
    assert not target.exists()


def test_an_alias_that_holds_itself_ends() -> None:
    facts = read.facts_of(read.parse("base_model: x\na: &a\n  b: *a\n", "run.yaml"), {})
    assert facts["config.base_model"].value == "x"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"base_model: \xff\xfe", "not a text in UTF-8; give the YAML or JSON that the run was started with"),
        (b"base_model: \0", "a binary file; give the YAML or JSON that the run was started with"),
        (b"#" * (513 << 10), "larger than 512 KiB; no configuration is, so check the path"),
    ],
)
def test_refused_files(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read.read(path)
    assert str(caught.value) == f"{path}: {sentence}"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(ConfigError, match="larger than 512 KiB"):
        read.read(path)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a folder; give the configuration file in it"):
        read.read(tmp_path)
    with pytest.raises(ConfigError, match="can't be read: No such file or directory; check the path"):
        read.read(tmp_path / "none.yaml")
