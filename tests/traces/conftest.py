"""What tests of traces share: a reader of metric text, and the real traces with what they must be found to be."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from doctor.catalog import Catalog
from doctor.facts import Facts
from doctor.logs.metric_points import points_in_text
from doctor.logs.prefixes import Line
from doctor.logs.run_facts import FactReader
from doctor.metric_keys import SETTINGS
from doctor.points import Points
from doctor.signature import Signature
from doctor.traces.run_folder import best_sources, metric_files, read_metric_file

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "fixtures" / "traces"
# Settings and versions are printed before training starts.
HEAD_LINES = 60
ASKED = (*SETTINGS, "lora_target_linear", "fp16", "adapter", "train_on_inputs", "gradient_checkpointing")


@dataclass(frozen=True)
class RealTrace:
    """The sources of one real trace, and what its log says of the run."""

    sources: list[Points]
    facts: Facts


class Signatures(list[Signature]):
    """Signatures that hypothesis can name in a line."""

    def __repr__(self) -> str:
        return f"{len(self)} signatures"


@pytest.fixture(scope="session")
def read() -> Callable[[str], Points]:
    return points_in_text


@pytest.fixture(scope="session")
def signatures(bundled: Catalog) -> list[Signature]:
    return Signatures(bundled.signature(id) for id, file in bundled.files.items() if "\n[trace]" in file.text)


@pytest.fixture(scope="session")
def facts_of() -> Callable[[str], Facts]:
    """Reads the facts in the head of a log."""

    def facts(text: str) -> Facts:
        reader = FactReader(ASKED)
        for number, line in enumerate(text.splitlines()[:HEAD_LINES], 1):
            reader.take(Line(line.strip()), "run.log", number, iter(()))
        return reader.facts()

    return facts


@pytest.fixture(scope="session")
def trace(read: Callable[[str], Points], facts_of: Callable[[str], Facts]) -> Callable[[str], RealTrace]:
    """Loads a real trace: its console and the files beside it."""

    @cache
    def load(name: str) -> RealTrace:
        text, folder = console_of(name), TRACES / name
        structured = [read_metric_file(path) for path in metric_files(folder)] if folder.is_dir() else []
        return RealTrace(best_sources(structured, [read(text)]), facts_of(text))

    return load


def console_of(name: str) -> str:
    """What a run printed."""
    for place in (TRACES / f"{name}.log", TRACES / name / "console.log"):
        if place.exists():
            return place.read_text()
        packed = place.with_name(place.name + ".gz")
        if packed.exists():
            return gzip.decompress(packed.read_bytes()).decode()
    raise FileNotFoundError(f"{name}: make it with python fixtures/make/traces")
