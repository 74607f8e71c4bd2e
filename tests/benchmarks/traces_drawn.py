"""How well runs that are drawn at random are judged: python tests/benchmarks/traces_drawn.py [--seed N] [--runs N]

Trains runs of fixtures/make/traces/others.py, each with a model, optimizer, schedule, batch, logging interval and style of lines
drawn at random; every other one has a fault, too. Prints what doctor says where it is not what was drawn, and the sums. With a
seed that nobody has used before this is a blind measurement. Needs torch; a run takes some seconds.
"""

import argparse
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "fixtures" / "make" / "traces"), str(ROOT / "tests" / "benchmarks")]

import others
import torch
from others import Job, gru, momentum
from traces_accuracy import facts_of
from words import Convolution, Lion, Recurrent

from doctor import catalog
from doctor.finding import Severity
from doctor.logs.metric_points import points_in_text
from doctor.traces.match import find

Draw = random.Random
MODELS = (Recurrent, gru, Convolution)
OPTIMIZERS = (
    (torch.optim.NAdam, (1e-3, 5e-3)),
    (torch.optim.AdamW, (1e-3, 6e-3)),
    (momentum, (0.1, 0.3)),
    (torch.optim.RMSprop, (1e-3, 2e-3)),
)
EVALS = ("mlx", "swift", "llmc", "hf")
NORMS = ("tune", "hf", "keyed", "llmc")
RATES = ("tune", "hf", "mlx", "swift", "keyed", "neox")
ANY = ("tune", "hf", "llmc", "mlx", "swift", "keyed", "neox")


def decaying_late(job: Job, step: int) -> float:
    """Warm-up, a long level, and a decay at the end."""
    return job.rate * min(step / 30, 1) * min((job.steps - step) / (0.2 * job.steps) + 0.02, 1)


def warming_long(job: Job, step: int) -> float:
    return job.rate * min(step / (0.3 * job.steps), 1) * max(1 - step / (1.05 * job.steps), 0.05)


SCHEDULES = (
    (None, ("lr_scheduler_type: linear", "warmup_steps: 20")),
    (others.one_cycle, ()),
    (others.steady, ("lr_scheduler_type: constant",)),
    (others.restarts, ()),
    (warming_long, ("lr_scheduler_type: cosine",)),
    (decaying_late, ()),
)


def healthy(draw: Draw) -> tuple[str, Mapping[str, object]]:
    """The style and the settings of a run without fault."""
    schedule, header = draw.choice(SCHEDULES)
    more = draw.choice(
        [
            {},
            {"before": others.trained(draw.choice((100, 400)))},
            {"before": others.resumed(draw.randrange(100, 200), lost=False)},
            {"batch": others.longer_rows},
            {"rows": 30_000},
            {"model": lambda: Recurrent(drop=0.3)},
            {"optimizer": Lion, "rate": draw.uniform(3e-4, 6e-4)},
        ]
    )
    header = (*header, others.VOCABULARY) if draw.random() < 0.5 else header
    style = draw.choice(ANY)
    if style == "keyed" and draw.random() < 0.3:
        more = {**more, "scale": 2.0 ** draw.randrange(16, 33), "half": True}
    evals = draw.choice((0, 40)) if style in EVALS else 0
    return style, {
        "schedule": schedule,
        "header": header,
        "evals": evals,
        "steps": draw.choice((200, 300, 400)),
        **more,
    }


def nan_from(step: int) -> Callable[[Job, torch.Tensor, torch.Tensor], torch.Tensor]:
    def loss(job: Job, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        job.kept.append(None)
        return job.cross_entropy(ids, targets) * (float("nan") if len(job.kept) >= step else 1.0)

    return loss


# What is drawn for each fault: (styles that can show it, settings).
FAULTS: dict[str, Callable[[Draw, int], tuple[tuple[str, ...], Mapping[str, object]]]] = {
    "loss-nan": lambda draw, at: (ANY, {"loss": nan_from(at)}),
    "loss-zero": lambda draw, at: (("hf", "swift"), {"loss": others.all_masked, "steps": 150}),
    "loss-spike": lambda draw, at: (ANY, {"batch": others.strange_words(at, at + draw.randrange(12, 40))}),
    "diverged": lambda draw, at: (
        ANY,
        {"schedule": lambda job, step: job.rate * 1.03 ** max(step - 150, 0), "clip": 1e9},
    ),
    "overfit": lambda draw, at: (EVALS, {"rows": draw.randrange(500, 1200), "evals": 25}),
    "loss-plateau": lambda draw, at: (RATES, {"before": others.trained(60), "rate": 1e-10}),
    "plateau-ln-vocab": lambda draw, at: (ANY, {"batch": others.unrelated, "header": (others.VOCABULARY,)}),
    "resume-discontinuity": lambda draw, at: (
        ANY,
        {"before": others.resumed(at, lost=True), "model": draw.choice((Recurrent, gru))},
    ),
    "slow-steps": lambda draw, at: (("mlx", "swift", "tune"), {"before": others.waits, "steps": 160, "every": 2}),
    "memory-growth": lambda draw, at: (("swift", "mlx"), {"loss": others.kept_loss, "shown_memory": others.resident}),
    "eval-loss-nan": lambda draw, at: (EVALS, {"evals": 40, "eval_masked": True}),
    "loss-scale-collapse": lambda draw, at: (
        ("keyed",),
        {"scale": 2.0**14, "before": others.overflowing(at), "model": Convolution},
    ),
    "grad-norm-exploding": lambda draw, at: (NORMS, {"loss": others.steep_rows(at)}),
    "lr-not-advancing": lambda draw, at: (
        ("tune", "hf", "mlx"),
        {"schedule": others.steady, "header": (others.RATE, others.WARM)},
    ),
}


def drawn(seed: int, number: int) -> tuple[str, Job]:
    """(what is wrong with it, the run); nothing is wrong with every other one."""
    draw = random.Random(f"{seed} {number}")
    optimizer, rates = draw.choice(OPTIMIZERS)
    settings = {
        "model": draw.choice(MODELS),
        "optimizer": optimizer,
        "rate": draw.uniform(*rates),
        "seed": draw.randrange(10**6),
    }
    settings |= {"every": draw.choice((1, 2, 5, 10)), "size": draw.choice((4, 10, 16))}
    if number % 2:
        style, more = healthy(draw)
        return "", Job(style, **{**settings, **more})
    fault = tuple(FAULTS)[number // 2 % len(FAULTS)]
    styles, more = FAULTS[fault](draw, draw.randrange(180, 300))
    return f"trace/{fault}", Job(draw.choice(styles), **{**settings, **more})


def printed(job: Job, path: Path) -> str:
    """What a run prints, trained in a process of its own."""
    child = os.fork()
    if not child:
        with path.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            job.run()
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)
    return path.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--runs", type=int, default=56)
    options = parser.parse_args()
    signatures = [one for one in catalog.load().signatures() if type(one.match).__name__ == "Trace"]
    sums = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            fault, job = drawn(options.seed, number)
            text = printed(job, Path(folder, "run.log"))
            roots = [
                one for one in find([points_in_text(text)], signatures, facts_of(text)).findings if not one.explained_by
            ]
            alarms = {one.id for one in roots if one.severity is not Severity.NOTE}
            sums[f"{'sick' if fault else 'healthy'} runs"] += 1
            sums["found" if fault in {one.id for one in roots} else "missed"] += bool(fault)
            sums["beside what was drawn" if fault else "false alarms"] += len(alarms - {fault})
            if {fault} - {""} != {one.id for one in roots}:
                print(
                    f"{number:3} {fault or 'healthy':30} {job.style:6} every {job.every:2}: {sorted(one.id for one in roots)}",
                    flush=True,
                )
    print(", ".join(f"{count} {name}" for name, count in sums.items()))


if __name__ == "__main__":
    main()
