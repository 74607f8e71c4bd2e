"""The tables of models and strategies in README.rst are those that the signatures give."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN, END = ".. begin: models and strategies\n", ".. end\n"


def test_readme() -> None:
    tables = runpy.run_path(str(ROOT / "fixtures" / "make" / "config" / "model_table.py"))["tables"]()
    readme = (ROOT / "README.rst").read_text("utf-8")
    block = readme.split(BEGIN, 1)[1].split(END, 1)[0]
    assert block.strip() == tables.strip(), "run fixtures/make/config/model_table.py and paste what it prints"
