"""How well traces are judged: python tests/benchmarks/traces_accuracy.py [--split dev|held-out|blind]

Over all real traces of fixtures/traces: hits, misses and false alarms of each pathology, and of all healthy runs together. Beside
them the published rules for loss spikes, on the same traces: a trace counts as flagged if a rule fires at least once on its loss.
Thresholds were chosen on the dev split; the held-out one is for this table only, and the blind one holds runs of other models,
optimizers and data whose verdicts nobody had seen when they were made.
"""

import argparse
import gzip
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from doctor import catalog
from doctor.facts import Facts
from doctor.logs.metric_points import points_in_text
from doctor.logs.prefixes import Line
from doctor.logs.run_facts import FactReader
from doctor.metric_keys import SETTINGS
from doctor.points import Floats, Points
from doctor.traces.match import TraceResult, find
from doctor.traces.run_folder import best_sources, metric_files, read_metric_file

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "fixtures" / "traces"
SPIKES = frozenset({"trace/loss-spike", "trace/diverged", "trace/back-to-uniform", "trace/resume-discontinuity"})


def olmo_core(loss: Floats, window: int = 128, sigmas: float = 6.0, least: int = 64) -> bool:
    """OLMo-core's StabilityMonitor: a value above the mean of the last 128 by 6 standard deviations, from 64 values on."""
    return any(
        loss[n] > loss[max(n - window, 0) : n].mean() + sigmas * loss[max(n - window, 0) : n].std()
        for n in range(least, len(loss))
    )


def llm_foundry(loss: Floats, window: int = 100, factor: float = 2.0, patience: int = 4) -> bool:
    """llm-foundry's KillLossSpike: more than 4 values in a row of at least twice the running mean over 100 batches."""
    row = 0
    for n in range(1, len(loss)):
        row = row + 1 if loss[n] >= factor * loss[max(n - window, 0) : n].mean() else 0
        if row > patience:
            return True
    return False


def internevo(loss: Floats, factor: float = 1.5) -> bool:
    """InternEvo's alert: a value above 1.5 times the one before it."""
    return bool((loss[1:] > factor * loss[:-1]).any())


def lightning(loss: Floats, window: int = 10, factor: float = 2.0) -> bool:
    """Lightning's SpikeDetection: a value that differs from the running mean over 10 values by twice that mean."""
    return any(
        abs(loss[n] - loss[n - window : n].mean()) >= factor * loss[n - window : n].mean()
        for n in range(window, len(loss))
    )


RULES: dict[str, Callable[[Floats], bool]] = {
    "OLMo-core 6 sigma / 128": olmo_core,
    "llm-foundry 2x for 5": llm_foundry,
    "InternEvo 1.5x previous": internevo,
    "Lightning 2x / 10": lightning,
}


def console(name: str) -> str:
    """What a run printed."""
    for path in (TRACES / f"{name}.log", TRACES / name / "console.log"):
        if path.exists():
            return path.read_text()
        packed = path.with_name(path.name + ".gz")
        if packed.exists():
            return gzip.decompress(packed.read_bytes()).decode()
    raise FileNotFoundError(f"{name}: make it with python fixtures/make/traces")


def facts_of(text: str) -> Facts:
    """The settings in the head of a log."""
    reader = FactReader((*SETTINGS, "lora_target_linear"))
    for number, line in enumerate(text.splitlines()[:60], 1):
        reader.take(Line(line.strip()), "", number, iter(()))
    return reader.facts()


def sources_of(name: str, text: str) -> list[Points]:
    folder = TRACES / name
    files = [read_metric_file(path) for path in metric_files(folder)] if folder.is_dir() else []
    return best_sources(files, [points_in_text(text)])


def losses(result: TraceResult) -> list[Floats]:
    """The finite losses of each run."""
    return [
        run.series["loss"].values[np.isfinite(run.series["loss"].values)] for run in result.runs if "loss" in run.series
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=("dev", "held-out", "blind"))
    options = parser.parse_args()
    cases = tomllib.loads((ROOT / "fixtures" / "make" / "traces" / "cases.toml").read_text())
    cases = {name: row for name, row in cases.items() if options.split in (None, row["split"])}
    signatures = [one for one in catalog.load().signatures() if type(one.match).__name__ == "Trace"]
    hits, misses, alarms = Counter[str](), Counter[str](), Counter[str]()
    flagged: dict[str, Counter[str]] = {name: Counter() for name in ("doctor", *RULES)}
    for name, row in cases.items():
        text = console(name)
        result = find(sources_of(name, text), signatures, facts_of(text))
        roots = {one.id for one in result.findings if one.explained_by is None}
        hits.update(set(row["expected"]) & roots)
        misses.update(set(row["expected"]) - roots)
        alarms.update(roots - set(row["expected"]))
        missed, extra = sorted(set(row["expected"]) - roots), sorted(roots - set(row["expected"]))
        if missed or extra:
            print(f"{name} ({row['split']}): missed {missed}, also {extra}")
        kind = "healthy" if not row["expected"] else "spike" if SPIKES & set(row["expected"]) else ""
        flagged["doctor"][kind] += bool(SPIKES & {one.id for one in result.findings})
        for rule, fires in RULES.items():
            flagged[rule][kind] += any(fires(loss) for loss in losses(result))
    report(cases, hits, misses, alarms, flagged)


def report(cases: dict, hits: Counter, misses: Counter, alarms: Counter, flagged: dict[str, Counter]) -> None:
    healthy = [name for name, row in cases.items() if not row["expected"]]
    print(f"\n{'pathology':34} {'hits':>5} {'misses':>7} {'other alarms':>13}")
    for id in sorted(hits | misses | alarms):
        print(f"{id:34} {hits[id]:5} {misses[id]:7} {alarms[id]:13}")
    print(
        f"{'all':34} {hits.total():5} {misses.total():7} {alarms.total():13}   of {len(cases)} traces, {len(healthy)} healthy"
    )
    spikes = sum(bool(SPIKES & set(row["expected"])) for row in cases.values())
    print(f"\n{'spike rules':34} {'found':>5} of {spikes:2}  {'false alarms':>13} of {len(healthy)} healthy")
    for rule, counts in flagged.items():
        print(f"{rule:34} {counts['spike']:5} {'':5}  {counts['healthy']:13}")


if __name__ == "__main__":
    main()
