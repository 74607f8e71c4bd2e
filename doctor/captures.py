"""The names that the prose of a signature may use beside what its own patterns capture."""

# What shapes tell of what they saw.
TRACE_CAPTURES = frozenset([
    "accumulation", "after", "again", "before", "best", "best_step", "chosen", "epoch", "factor", "family",
    "first_step", "last_good_step", "last_step", "lead", "learning_rate", "loss", "metric", "metric_before",
    "metric_value", "of_what", "other", "own", "per_thousand_steps", "percent", "points", "prediction", "rank",
    "recovered", "rose", "seen", "signs", "start_step", "total", "uniform", "usual", "value", "vocabulary", "wanted",
    "warmup", "what",
])  # fmt: skip

# What every text signature knows of the innermost stack frame: where it is, and the installed package it is in.
FRAME_CAPTURES = frozenset({"frame", "package"})
# What one that captures a module knows of it: its top package, and that again if own code stands in a folder of that name.
MODULE_CAPTURES = frozenset({"top", "folder"})
# What a text signature with a silence knows of it.
SILENCE_CAPTURES = frozenset({"minutes", "since"})
# What is told of a checkpoint's tensors.
SCALE_CAPTURES = frozenset({"tensor", "file", "count", "of", "layers", "worst", "centre"})
