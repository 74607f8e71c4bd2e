"""What is known of models: a name's model_type, and whether a type has encoders and experts."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelType:
    """A model_type of transformers. ``moe`` is None where the type has members with and without experts."""

    name: str
    class_name: str
    multimodal: bool
    moe: bool | None


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern over repository names, and the type that it stands for."""

    pattern: re.Pattern[str]
    type: str
    moe: bool | None


def model_type(name: str) -> ModelType | None:
    """A type by its name in transformers' configurations; None if it is no language model that transformers has."""
    return _types().get(name)


def type_of(model: str) -> NamePattern | None:
    """What the name of a repository or the path of a folder says about its model, if anything."""
    tail = "/".join(model.replace("\\", "/").rstrip("/").split("/")[-2:])
    return next((one for one in _patterns() if one.pattern.search(tail)), None)


@cache
def _types() -> Mapping[str, ModelType]:
    table = json.loads(Path(__file__).with_name("models.json").read_text("utf-8"))
    return {name: ModelType(name, row["class"], row["multimodal"], row["moe"]) for name, row in table["types"].items()}


@cache
def _patterns() -> tuple[NamePattern, ...]:
    table = tomllib.loads(Path(__file__).with_name("model_names.toml").read_text("utf-8"))
    return tuple(
        NamePattern(re.compile(row["pattern"], re.IGNORECASE), row["type"], row.get("moe")) for row in table["name"]
    )
