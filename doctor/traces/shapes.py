"""The shapes that a trace signature may name."""

from doctor.traces import (
    broken_shapes,
    eval_shapes,
    loss_shapes,
    moving_shapes,
    optimizer_shapes,
    reward_shapes,
    scaled_shapes,
    speed_shapes,
)
from doctor.traces.view import Shape

SHAPES = {
    # broken_shapes
    "nonfinite": Shape(broken_shapes.nonfinite, ("row", "share", "after", "opening")),
    "nonfinite-beside-finite": Shape(broken_shapes.nonfinite_beside_finite, ("row", "share", "after", "opening")),
    "nonfinite-alone": Shape(broken_shapes.nonfinite_alone, ("row",)),
    "masked-nan": Shape(broken_shapes.masked_nan, ("row", "from")),
    "zero": Shape(broken_shapes.zero, ("below", "row", "from", "grad_norm")),
    # loss_shapes
    "at-uniform": Shape(loss_shapes.at_uniform, ("points", "steps", "near", "moved", "few", "few_near")),
    "at-classes": Shape(loss_shapes.at_classes, ("points", "steps", "near", "moved", "most")),
    "above-uniform": Shape(loss_shapes.above_uniform, ("points", "steps", "above", "slope")),
    "at-level": Shape(loss_shapes.at_level, ("points", "steps", "level", "near", "margin")),
    "flat": Shape(
        loss_shapes.flat,
        (
            "points",
            "steps",
            "level",
            "moved",
            "slope",
            "share",
            "high",
            "rate",
            "adapter_rate",
            "few",
            "epochs",
            "chance",
            "guess",
            "tau",
            "same",
            "solved",
        ),
    ),
    "stands-still": Shape(loss_shapes.stands_still, ("points", "steps", "level", "drop", "early", "still")),
    "slow-start": Shape(loss_shapes.slow_start, ("points", "steps", "part", "from", "share", "slope")),
    "high-start": Shape(loss_shapes.high_start, ("level", "settle", "points", "share")),
    "too-good": Shape(loss_shapes.too_good, ("points", "from", "below", "share")),
    # moving_shapes
    "spike": Shape(
        moving_shapes.spike,
        (
            "points",
            "median",
            "ratio",
            "rise",
            "noise",
            "noise_points",
            "row",
            "sharp",
            "after",
            "recovered",
            "within",
            "within_points",
            "violent",
        ),
    ),
    "divergence": Shape(
        moving_shapes.divergence,
        (
            "points",
            "ratio",
            "rise",
            "noise",
            "worse",
            "few",
            "much",
            "tau",
            "after",
            "grew",
            "adapter",
            "pretrained",
            "scratch",
        ),
    ),
    "back-to-uniform": Shape(moving_shapes.back_to_uniform, ("points", "low", "high", "most", "near")),
    "jump-at-resume": Shape(moving_shapes.jump_at_resume, ("points", "least", "ratio", "noise", "row", "within")),
    "drop-at-resume": Shape(moving_shapes.drop_at_resume, ("points", "least", "ratio", "noise")),
    "staircase": Shape(moving_shapes.staircase, ("points", "borders", "drop", "inside")),
    # eval_shapes
    "overfit": Shape(
        eval_shapes.overfit,
        ("points", "few", "few_ratio", "ratio", "rise", "scale", "row", "fall", "level", "gain"),
    ),
    "eval-divergence": Shape(eval_shapes.eval_divergence, ("points", "ratio", "rise", "scale", "row", "train")),
    "eval-lost": Shape(eval_shapes.eval_lost, ("points", "much", "most", "level")),
    "by-heart": Shape(eval_shapes.by_heart, ("points", "from", "scratch", "start", "tuned", "epochs")),
    "stands-below": Shape(eval_shapes.stands_below, ("points", "share", "ratio")),
    # scaled_shapes
    "scaled-by-accumulation": Shape(
        scaled_shapes.scaled_by_accumulation,
        ("evals", "near", "unknown_evals", "spread", "ratio", "above", "least_share", "common", "moves"),
    ),
    # optimizer_shapes
    "exploding": Shape(
        optimizer_shapes.exploding, ("points", "median", "ratio", "stays", "row", "after", "level", "level_points")
    ),
    "vanishing": Shape(optimizer_shapes.vanishing, ("below", "row", "loss")),
    "rate-stuck": Shape(
        optimizer_shapes.rate_stuck, ("points", "row", "share", "resolution", "still", "same", "peak", "steps", "part")
    ),
    "rate-below-peak": Shape(optimizer_shapes.rate_below_peak, ("points", "peak", "steps")),
    "long-warmup": Shape(optimizer_shapes.long_warmup, ("points", "share", "steps")),
    "rate-restarts": Shape(optimizer_shapes.rate_restarts, ("points", "ratio", "share")),
    "scale-floor": Shape(optimizer_shapes.scale_floor, ("floor", "falls", "share", "after", "points")),
    # speed_shapes
    "slower": Shape(speed_shapes.slower, ("points", "ratio", "tau", "parts", "share", "much")),
    "stalled": Shape(speed_shapes.stalled, ("points", "ratio", "seconds", "gap_ratio", "gap_seconds")),
    "straggling": Shape(speed_shapes.straggling, ("points", "score", "width", "others")),
    "growing": Shape(speed_shapes.growing, ("points", "ratio", "tau")),
    # reward_shapes
    "above": Shape(reward_shapes.above, ("level", "points")),
    "below": Shape(reward_shapes.below, ("level", "points")),
    "far-from-one": Shape(reward_shapes.far_from_one, ("high", "low", "points")),
    "never-above": Shape(reward_shapes.never_above, ("level", "points", "width")),
    "doubling": Shape(reward_shapes.doubling, ("width", "times", "from")),
    "rising": Shape(reward_shapes.rising, ("points", "level", "ratio", "tau", "reward")),
    "fallen": Shape(reward_shapes.fallen, ("before", "points", "fall", "share", "sure")),
    "collapsed": Shape(reward_shapes.collapsed, ("level", "points", "reward")),
    "drifted": Shape(reward_shapes.drifted, ("difference", "ratio", "points")),
    "no-spread": Shape(reward_shapes.no_spread, ("level", "points", "row", "grad_norm")),
    "flat-reward": Shape(reward_shapes.flat_reward, ("points", "moved", "floor")),
    "zero-reward": Shape(reward_shapes.zero_reward, ("row",)),
    "short-completions": Shape(reward_shapes.short_completions, ("points", "below", "ratio", "reward")),
    "over-optimised": Shape(reward_shapes.over_optimised, ("points", "margin", "loss", "fall")),
}
