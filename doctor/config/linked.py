"""Files that a configuration names and that lie beside it: a DeepSpeed JSON, and the configuration of a local base model."""

from pathlib import Path

from doctor.config.read import Document, read
from doctor.facts import Fact, Facts
from doctor.models import model_type
from doctor.settings import MODEL_KEYS, flattened

MODEL_CONFIG = "config.json"


def linked(document: Document) -> Facts:
    """Facts of the files that a configuration names, if they are there; ConfigError if one can't be read."""
    return {**_deepspeed(document), **_model(document)}


def linked_files(document: Document) -> list[Path]:
    """The files that a configuration names, if they are there."""
    return [path for path in (_deepspeed_file(document), _model_file(document)) if path is not None]


def _deepspeed_file(document: Document) -> Path | None:
    return _file(document, document.table.get("deepspeed"))


def _model_file(document: Document) -> Path | None:
    folder = next((document.table[key] for key in MODEL_KEYS if document.table.get(key)), None)
    return _file(document, f"{folder}/{MODEL_CONFIG}" if isinstance(folder, str) else None)


def _deepspeed(document: Document) -> dict[str, Fact]:
    path = _deepspeed_file(document)
    if path is None:
        return {}
    other = read(path)
    return {
        f"config.deepspeed.{key}": Fact(value, other.path, other.lines.get(key, 0))
        for key, value in flattened(other.table)
    }


def _model(document: Document) -> dict[str, Fact]:
    path = _model_file(document)
    if path is None:
        return {}
    other = read(path, any_format=True)
    type_, text = other.table.get("model_type"), other.table.get("text_config")
    found = {"config.model_config_type": Fact(str(type_), other.path)} if model_type(str(type_)) else {}
    enabled = text.get("enable_moe_block") if isinstance(text, dict) else None
    return found | ({} if enabled is None else {"config.text_config.enable_moe_block": Fact(bool(enabled), other.path)})


def _file(document: Document, name: object) -> Path | None:
    """A file that is named relative to the working directory or to the configuration."""
    if not isinstance(name, str) or not name:
        return None
    places = (Path(name), Path(document.path).parent / name)
    try:
        return next((place for place in places if place.is_file()), None)
    except (OSError, ValueError):
        return None
