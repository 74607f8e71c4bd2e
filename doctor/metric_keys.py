"""How training loops spell their metrics: one entry a series, and the words that tell the step.

The number stands behind the key; ``logs/keyed_numbers.py`` makes the patterns. Of several entries that fit, the first counts, so
the specific ones stand first. To read a new text format, add its spellings here and a sample to
``tests/logs/metric_formats.toml``; ``logs/metrics.py`` must find its lines.
"""

from dataclasses import dataclass

# Roles of numbers that are no metric.
STEP = "@step"  # the global step of the record
HEADER = "@header"  # the global step of all records behind it that tell none
STEP_IN_EPOCH = "@step-in-epoch"  # starts again in each epoch; the steps of an epoch may follow behind a slash
END = "@end"  # its record sums up the run, so it is no point of a series
RATE = "@rate"  # steps per second over the run; times its END, the number of steps
ELAPSED = "@elapsed"  # seconds since the start; between two records it tells the time of a step
ROLES = (STEP, HEADER, STEP_IN_EPOCH, END, RATE, ELAPSED)

# The settings (keys below config.) without which metrics can't be judged; logs and configurations are searched for them.
SETTINGS = (
    "vocab_size",
    "num_labels",
    "num_classes",
    "gradient_accumulation_steps",
    "logging_steps",
    "warmup_steps",
    "warmup_ratio",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler",
)

MIB = 1 / 1024
BYTE = 1 / 2**30
MS = 1e-3
# In front of a step's time that has no name but its unit, as llm.c prints it: | lr 3.00e-04 | 1800.12 ms |
UNNAMED_TIME = r"lr [\d.e+-]{1,12}"
# The splits of the data, as they stand beside the name of a measure.
_TRAIN, _EVAL = r"tr(?:ain(?:ing)?)?", r"(?:eval(?:uation)?|val(?:id|idation)?|test)"
# What a loss of no classes is called, the whole before its part.
_PARTS = r"(?:total|elbo|recon(?:struction)?)"
_PPL, _ACC = r"(?:ppl|perplexity)", r"acc(?:uracy)?"


@dataclass(frozen=True, slots=True)
class Key:
    """Spellings of one series: a pattern over the key, without quotes and separator.

    Values are multiplied by ``unit``; with ``inverse``, the reciprocal is taken (steps per second become seconds per step).
    A ``primary`` key makes its line a metric line; the others only count beside one. ``separator`` replaces the usual one.
    ``evaluated`` is the series that the key means behind a heading that speaks of an evaluation.
    """

    series: str
    spelling: str
    unit: float = 1.0
    inverse: bool = False
    primary: bool = False
    separator: str | None = None
    evaluated: str = ""


KEYS = (
    # Steps. The global one first: a line may show several counters.
    Key(STEP, r"(?:trainer/|training/)?global_step(?:/max_steps)?|num_updates|current_steps"),
    Key(HEADER, r"\[(?:step|batch)", separator="=", primary=True),
    Key(STEP, r"(?:validation loss at )?iteration", separator=r"['\"]?[ :=]+", primary=True),
    Key(STEP, r"iter", separator=r"['\"]?[ :=]+"),
    Key(STEP, r"(?:completed |global |\biter \d{1,9} )?steps?|_step|update_steps?", separator=r"['\"]?[ :=#]+"),
    Key(STEP, r"\bs", separator=r":"),
    Key(STEP, r"(?:communication |global |server )?round", separator=r"['\"]?[ :=#]+"),
    Key(STEP_IN_EPOCH, r"epoch:?\s?\[\d{1,5}/\d{1,5}\]", separator=r"\(\s{0,9}"),
    Key(STEP_IN_EPOCH, r"epoch\(train\)\s{1,4}\[\d{1,5}\]", separator=r"\[\s{0,9}"),
    Key(STEP, r"iter\(train\)", separator=r"\s{1,4}\[\s{0,9}"),
    Key(STEP_IN_EPOCH, r"epoch \d{1,5}:", separator=r"\s{1,9}"),
    Key(STEP_IN_EPOCH, r"batch", separator=r"['\"]?[ :=#]+"),
    Key("epoch", r"(?:training )?epoch(?:\(train\))?", separator=r"['\"]?[ :=]*['\"\[(]?\s?"),
    # The model's loss.
    Key("eval_train_loss", r"\bstep \d{1,9}: train loss"),
    Key("eval_loss", r"lm loss value", primary=True),
    Key("loss", r"lm[ _]loss|reduced_train_loss", primary=True),
    Key(
        "loss",
        r"tr(?:ain(?:ing)?)?[_ /.]?loss(?:es)?(?:[_/ ]step)?|train/(?:lm|ce|cross_?entropy)[_ ]loss|train/crossentropyloss|trl",
        primary=True,
    ),
    Key(
        "loss",
        r"(?:train )?loss/train/total|loss[_ /]train(?:ing)?|train/loss",
        primary=True,
    ),
    Key("loss", r"(?:ave?|avg|average|mean|total|ce|step|task)[_ ]loss", primary=True, evaluated="eval_loss"),
    Key(
        "eval_loss",
        r"eval[_ /]?loss|val(?:id|idation)?[_ /.]?loss(?:es)?(?:[_/ ]epoch)?|loss[_ /](?:eval|val(?:id|idation)?|test)|tel|"
        r"(?:loss train: [\d.]{1,9}, )?val",
        primary=True,
    ),
    Key(
        "eval_loss",
        r"(?:eval )?metrics/eval/(?:language)?crossentropy|eval/[\w-]{1,40}/(?:crossentropyloss|ce loss)",
        primary=True,
    ),
    Key("eval_loss", r"validation loss \d{1,9}", separator=r":\s{0,4}", primary=True),
    Key("eval_loss", r"(?:eval|valid)(?:uation|ation)?[ \w]{1,20}: loss", primary=True),
    Key("loss", rf"{_TRAIN}[_ /.]{_PARTS}[_ ]loss", primary=True),
    Key("eval_loss", rf"{_EVAL}[_ /.]{_PARTS}[_ ]loss", primary=True),
    Key("policy_loss", r"actor/pg_loss|policy_loss|loss/policy_avg|actor loss", primary=True),
    Key("value_loss", r"critic/vf_loss|value_loss|loss/value_avg"),
    Key("loss", r"loss", primary=True, evaluated="eval_loss"),
    Key("nll_loss", r"nll_loss"),
    # The optimizer.
    Key(
        "grad_norm",
        r"(?:train/|actor/|optim/(?:total[ _])?|total[ _])?grad(?:ient)?[ _]norm|gnorm|(?:train )?l2_norm/grad/global|norm|gn",
    ),
    Key(
        "learning_rate",
        r"(?:train/|actor/)?(?:learning[ _]rate|lr|act_lr)|optim/lr \(group 0|(?:train )?lr-\w{1,20}(?:/group0)?",
    ),
    Key("loss_scale", r"loss[ _]scale"),
    Key("loss_scale", r"(?:[a-z]{1,9} )?loss scale: [\d.]{1,20}, (?:but|reducing to)", separator=r"\s", primary=True),
    Key("skipped", r"number of skipped iterations"),
    Key("nan_iterations", r"number of nan iterations"),
    # Speed and memory.
    Key("step_time", r"elapsed time per iteration \(ms\)", MS),
    Key(
        "step_time",
        r"elapsed time per iteration \(s\)|train_step_timing in s|timing_s/step|step_time|compute_time|iter time|seconds",
    ),
    Key("step_time", UNNAMED_TIME, separator=r" \| "),
    Key(ELAPSED, r"train_time"),
    Key("step_time", r"time"),
    Key(
        "step_time",
        r"it/sec|train_speed\(iter/s\)|(?:train )?throughput/batches_per_sec|throughput/device/batches_per_second",
        inverse=True,
    ),
    Key(
        "throughput",
        r"tps|(?:perf/|train/)?tok(?:en)?s_per_sec(?:ond)?(?:_per_gpu)?|tokens/train_per_sec_per_gpu|tok(?:ens)?/s(?:ec)?(?:/device)?|perf/throughput|wps|throughput",
    ),
    Key("memory", r"max_memory_allocated|mem-allocated-bytes", BYTE),
    Key(
        "memory",
        r"memory/max_(?:mem_)?active ?\(gib\)|memory\(gib\)|peak_memory_active|peak mem|max_ma|"
        r"(?:train )?memory/peak_(?:allocated|active)_mem",
    ),
    Key("memory", r"data_time: [\d.]{1,9}\s{1,4}memory", MIB),
    Key(
        "memory",
        r"(?:perf/|train/)?(?:peak_|gpu_)?mem(?:ory)?_gb|perf/max_memory_allocated_gb|memory/max_allocated ?\(gib\)|memory",
    ),
    # Quality.
    Key("eval_perplexity", rf"{_EVAL}[_ /.]?{_PPL}|{_PPL}[_ /]{_EVAL}", primary=True),
    Key("perplexity", rf"{_TRAIN}[_ /.]?{_PPL}|{_PPL}[_ /]{_TRAIN}", primary=True),
    Key("perplexity", _PPL, primary=True, evaluated="eval_perplexity"),
    Key("eval_accuracy", rf"{_EVAL}[_ /.]?(?:overall[_ ])?{_ACC}|{_ACC}[_ /]{_EVAL}"),
    Key(
        "eval_f1",
        rf"{_EVAL}[_ /.](?:(?:overall|macro|micro|weighted)[_ ])?m?f\d(?:[_ -](?:macro|micro|weighted|score))?",
    ),
    Key("eval_exact_match", rf"{_EVAL}[_ /.](?:exact[_ ]match|em)"),
    Key("eval_bleu", rf"{_EVAL}[_ /.](?:sacre)?bleu(?:[_ ]score)?"),
    Key("eval_rouge", rf"{_EVAL}[_ /.]rouge-?l"),
    Key("eval_correlation", rf"{_EVAL}[_ /.](?:spearman|pearson|kendall|matthews|mcc)\w{{0,20}}"),
    Key("eval_wer", rf"{_EVAL}[_ /.]wer"),
    Key("eval_cer", rf"{_EVAL}[_ /.]cer"),
    Key("accuracy", rf"mean_token_accuracy|token_acc|{_TRAIN}[_ /.]?{_ACC}|{_ACC}[_ /]{_TRAIN}"),
    Key("accuracy", _ACC, evaluated="eval_accuracy"),
    # Preference training and reinforcement learning.
    Key("rewards_chosen", r"rewards/chosen"),
    Key("rewards_rejected", r"rewards/rejected"),
    Key("rewards_margin", r"rewards/margins"),
    Key("rewards_accuracy", r"rewards/accuracies"),
    Key("reward_std", r"reward_std"),
    Key(
        "reward",
        r"critic/score/mean|critic/rewards/mean|objective/scores|(?:(?:mean|avg|average)[_ /])?reward|reward[_/](?:mean|avg)",
    ),
    Key("frac_reward_zero_std", r"frac_reward_zero_std"),
    Key("sequence_kl", r"objective/kl"),  # summed over the tokens of a completion
    Key("kl", r"critic/kl|actor/kl_loss|kl"),
    Key("entropy", r"actor/entropy(?:_loss)?|objective/entropy|policy/entropy_avg|entropy"),
    Key("clip_ratio", r"clip_ratio/region_mean|actor/pg_clipfrac|policy/clipfrac_avg|clip_ratio"),
    Key("clipped_completions", r"completions/clipped_ratio|response_length/clip_ratio"),
    Key("completion_length", r"completions/mean_length|completion_length|response_length/mean|response_length|avg len"),
    Key("importance_ratio_min", r"sampling/importance_sampling_ratio/min"),
    Key("logp_difference", r"sampling/sampling_logp_difference/mean"),
    Key("value_ratio", r"val/ratio"),
    Key("explained_variance", r"critic/vf_explained_var"),
    # Lines that are no points.
    Key(END, r"train_runtime"),
    Key(RATE, r"train_steps_per_second"),
)
