"""Losses of runs that print perplexities only: their logarithm is the loss in nats, whatever else the run measures."""

from dataclasses import replace

import numpy as np

from doctor.traces.series import Run, Series

# How a series says what it was made from.
LOGARITHM = "ln of the perplexity"
_LOSSES = {"perplexity": "loss", "eval_perplexity": "eval_loss"}
# Where one of these is printed, it is what training is judged by.
_PRINTED = frozenset({"loss", "eval_loss", "policy_loss", "nll_loss"})


def with_losses(run: Run) -> Run:
    """The run, with the losses that its perplexities tell if it prints no loss."""
    if not _PRINTED.isdisjoint(run.series):
        return run
    told = {loss: _loss(run.series[name], loss) for name, loss in _LOSSES.items() if name in run.series}
    return replace(run, series={**run.series, **{name: one for name, one in told.items() if one is not None}})


def _loss(perplexity: Series, name: str) -> Series | None:
    """None where a value shows that this is no perplexity. One that overflowed, or was rounded to 1, tells no loss."""
    values = perplexity.values
    if (values < 1).any():
        return None
    kept = np.isnan(values) | ((values > 1) & np.isfinite(values))
    return (
        Series(
            name,
            perplexity.path,
            perplexity.run,
            perplexity.steps[kept],
            np.log(values[kept]),
            perplexity.lines[kept],
            LOGARITHM,
        )
        if kept.any()
        else None
    )
