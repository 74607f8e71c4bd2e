"""Facts about the run: what logs say of versions, sizes, settings and the launcher's first failure."""

import json
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.facts import Value
from doctor.logs.match import LogResult
from doctor.logs.prefixes import Line, read_lines
from doctor.logs.run_facts import MOST_CONFIG_LINES, FactReader

Find = Callable[..., LogResult]

KEYS = ("activation_offloading", "gradient_checkpointing_kwargs.use_reentrant", "adapter", "flex_attention")


def facts_of(text: str, *keys: str) -> Mapping[str, Value]:
    """The facts of a text of which every line is looked at, by key."""
    reader = FactReader(keys or KEYS)
    lines = [line for raw in text.strip("\n").encode().split(b"\n") for line in read_lines(raw)]
    for n, line in enumerate(lines):
        reader.take(line, "run.log", n + 1, numbered(lines[n + 1 :], n + 2))
    return {key: fact.value for key, fact in reader.facts().items()}


def numbered(lines: list[Line], first: int) -> Iterator[tuple[int, Line]]:
    return iter(enumerate(lines, first))


# As axolotl 0.19 prints it (cli/config.py with its own logging_config.py).
AXOLOTL = """
[2026-11-24 05:11:17,576] [INFO] [axolotl.cli.config] config:
{
  "activation_offloading": true,
  "adapter": "lora",
  "base_model": "HuggingFaceTB/SmolLM2-135M",
  "datasets": [
    {
      "path": "mhenrichsen/alpaca_2k_test",
      "type": "alpaca"
    }
  ],
  "ddp": true,
  "fsdp": [],
  "gradient_checkpointing": true,
  "gradient_checkpointing_kwargs": {
    "use_reentrant": false
  },
  "learning_rate": 0.0002,
  "lora_target_modules": [
    "q_proj"
  ],
  "model_config_type": "llama",
  "torch_dtype": "torch.bfloat16",
  "world_size": 2
}
[2026-11-24 05:11:18,001] [INFO] [axolotl.train] starting
"""

RESOLVED = {
    "config.activation_offloading": True,
    "config.adapter": "lora",
    "config.base_model": "HuggingFaceTB/SmolLM2-135M",
    "config.datasets": '[{"path": "mhenrichsen/alpaca_2k_test", "type": "alpaca"}]',
    "config.datasets.0.path": "mhenrichsen/alpaca_2k_test",
    "config.datasets.0.type": "alpaca",
    "config.ddp": True,
    "config.flex_attention": None,
    "config.fsdp": None,
    "config.gradient_checkpointing": True,
    "config.gradient_checkpointing_kwargs.use_reentrant": False,
    "config.learning_rate": 0.0002,
    "config.lora_target_modules": '["q_proj"]',
    "config.model_config_type": "llama",
    "config.torch_dtype": "torch.bfloat16",
    "config.world_size": 2,
    "attention": None,
    "config_format": "axolotl",
    "fsdp.wrap_class": None,
    "model.class": "LlamaForCausalLM",
    "model.moe": False,
    "model.multimodal": False,
    "model.name": "HuggingFaceTB/SmolLM2-135M",
    "model.type": "llama",
    "strategy": "ddp",
    "world_size": 2,
}


def test_the_resolved_configuration_of_axolotl() -> None:
    assert facts_of(AXOLOTL) == RESOLVED


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("[axolotl.cli.config] config:", "[axolotl.load_cfg:233] [PID:77] [RANK:0] config:"),
        lambda text: text.replace(
            "[axolotl.cli.config] config:", "[axolotl.cli.config.load_cfg:346] [PID:77] [RANK:1] config:"
        ),
        lambda text: "\n".join(f"[default0]:{line}" for line in text.strip().split("\n")),
        lambda text: "\n".join(f"0: {line}" for line in text.strip().split("\n")),
        lambda text: "\n".join(f"> {line}" for line in text.strip().split("\n")),
        lambda text: "\n".join(line.strip() for line in text.strip().split("\n")),
        lambda text: text.replace("}\n[", "}\x1b[39m\n["),
        lambda text: text.replace("config:\n{", "config: {"),
    ],
    ids=["rank in the prefix", "newer prefix", "tee", "slurm", "quoted", "indentation lost", "colours", "on one line"],
)
def test_the_same_behind_prefixes_and_damage(change: Callable[[str], str]) -> None:
    assert facts_of(change(AXOLOTL)) == RESOLVED


def test_other_ranks_between_its_lines_do_not_matter() -> None:
    lines = [f"[rank0]: {line}\n[rank1]: step {n} of loading" for n, line in enumerate(AXOLOTL.strip().split("\n"))]
    assert facts_of("\n".join(lines)) == RESOLVED


def test_of_a_configuration_that_was_cut_only_single_settings_count() -> None:
    assert facts_of(AXOLOTL.replace("\n}\n", "\n"), "flex_attention") == {
        "config.base_model": "HuggingFaceTB/SmolLM2-135M",
        "model.name": "HuggingFaceTB/SmolLM2-135M",
        "world_size": 2,
    }


def test_a_resolved_configuration_outweighs_single_settings() -> None:
    assert facts_of('adapter: qlora\n"use_reentrant": true\n' + AXOLOTL)["config.adapter"] == "lora"


@pytest.mark.parametrize(
    ("line", "package", "version"),
    [
        ("torch==2.4.0", "torch", "2.4.0"),
        ("[pip3] torch==2.4.0+cu121", "torch", "2.4.0+cu121"),
        ("torch: 2.4.0", "torch", "2.4.0"),
        ("       torch: 2.3.1+cu121    ", "torch", "2.3.1+cu121"),
        ("torch                    2.4.0", "torch", "2.4.0"),
        ("Using torch 2.4.0a0+git1234", "torch", "2.4.0a0+git1234"),
        ("PyTorch version: 2.13.0", "torch", "2.13.0"),
        ("- PyTorch version (GPU?): 2.4.0+cu121 (True)", "torch", "2.4.0+cu121"),
        ("- `transformers` version: 4.44.0", "transformers", "4.44.0"),
        ("Transformers version: 5.0.0rc1", "transformers", "5.0.0rc1"),
        ('  "transformers_version": "4.44.0",', "transformers", "4.44.0"),
        ("peft = 0.12.0", "peft", "0.12.0"),
        ("{'trl': '0.9.6'}", "trl", "0.9.6"),
        ("NCCL version 2.20.5+cuda12.4", "nccl", "2.20.5+cuda12.4"),
        ("gpu-07:123:456 [0] NCCL INFO NCCL version 2.20.5+cuda12.4", "nccl", "2.20.5+cuda12.4"),
        (
            "[INFO] [logging.py:96:log_dist] [Rank 0] DeepSpeed info: version=0.14.2, git-hash=unknown",
            "deepspeed",
            "0.14.2",
        ),
        ("flash_attn==2.6.3", "flash-attn", "2.6.3"),
        ("flash-attn: 2.6.3", "flash-attn", "2.6.3"),
        ("==((====))==  Unsloth 2024.8: Fast Llama patching", "unsloth", "2024.8"),
        ("vLLM API server version 0.6.3", None, None),
        ("axolotl: 0.19.0", "axolotl", "0.19.0"),
        ("accelerate version v1.2.3.", "accelerate", "1.2.3"),
    ],
)
def test_versions_in_all_usual_forms(line: str, package: str | None, version: str | None) -> None:
    assert facts_of(line) == ({} if package is None else {f"version.{package}": version})


def test_what_pip_has_installed() -> None:
    found = facts_of(
        "Successfully installed accelerate-1.2.3 bitsandbytes-0.44.1 flash-attn-2.6.3 numpy-1.26.4 torch-2.4.0+cu121 other-9.9"
    )
    assert found == {
        "version.accelerate": "1.2.3",
        "version.bitsandbytes": "0.44.1",
        "version.flash-attn": "2.6.3",
        "version.numpy": "1.26.4",
        "version.torch": "2.4.0+cu121",
    }


@pytest.mark.parametrize(
    "line",
    [
        "trl 0.9.6 requires torch>=2.4",
        "vllm 0.6.3 requires torch==2.4.0, but you have torch 2.5.1 which is incompatible.",
        "This feature needs torch==2.4.0",
        "Please upgrade to transformers==4.44.0",
        "ImportError: accelerate>=0.26.0 is required",
        "pip install torch==2.4.0",
        "xFormers was built for: PyTorch 2.3.0+cu121 with CUDA 1201 (you have 2.4.0+cu121)",
        "deprecated since transformers 4.41.0",
        "torch 2.4 is fast",
        "Pytorch: 2.3.0+cu121. CUDA = 8.0. CUDA Toolkit = 12.1.",
        "at least numpy: 1.26.4",
        "tensor of shape torch.Size([2, 4])",
    ],
)
def test_no_version_from_what_others_want(line: str) -> None:
    assert facts_of(line) == {}


def test_the_first_version_counts() -> None:
    assert facts_of("torch==2.4.0\ntorch==2.5.0") == {"version.torch": "2.4.0"}


@pytest.mark.parametrize(
    "line",
    [
        "world_size: 8",
        "world_size=8",
        "World size: 8",
        "WORLD_SIZE=8",
        "'world_size': 8,",
        "Num processes: 8",
        "num_processes = 8",
    ],
)
def test_the_number_of_ranks(line: str) -> None:
    assert facts_of(line) == {"world_size": 8}


@pytest.mark.parametrize(
    "line",
    [
        "  Total optimization steps = 1,200",
        "[INFO|trainer.py:2525] 2025-01-02 03:04:05,678 >>   Total optimization steps = 1,200",
        "O^O/ \\_/ \\    Batch size per device = 2 | Total steps = 1200",
    ],
)
def test_the_steps_that_a_trainer_announces(line: str) -> None:
    assert facts_of(line)["total_steps"] == 1200


@pytest.mark.parametrize(
    "line", ["LOCAL_WORLD_SIZE=8", "model parallel world size: 2", "world_size: auto", "data_parallel_world_size: 4"]
)
def test_other_sizes_are_not_the_number_of_ranks(line: str) -> None:
    assert facts_of(line) == {}


@pytest.mark.parametrize(
    ("line", "device"),
    [
        ("GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)", "NVIDIA H100 80GB HBM3"),
        ("device: NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"),
        ("GPU: NVIDIA GeForce RTX 4090. Max memory: 23.6 GB.", "NVIDIA GeForce RTX 4090"),
        ("| 0  NVIDIA L40S           On  |", "NVIDIA L40S"),
    ],
)
def test_the_accelerator(line: str, device: str) -> None:
    assert facts_of(line)["device"] == device


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("adapter: qlora", "config.adapter", "qlora"),
        ("adapter='lora',", "config.adapter", "lora"),
        ("  'adapter': 'lora',", "config.adapter", "lora"),
        ('"flex_attention": true', "config.flex_attention", True),
        ("flex_attention=None,", "config.flex_attention", None),
        (
            "gradient_checkpointing_kwargs={'use_reentrant': True},",
            "config.gradient_checkpointing_kwargs.use_reentrant",
            True,
        ),
        ("config {'adapter': 'lora', 'flex_attention': False}", "config.flex_attention", False),
    ],
)
def test_single_settings(line: str, key: str, value: Value) -> None:
    assert facts_of(line)[key] == value


@pytest.mark.parametrize(
    "line",
    ["the adapter: qlora is slow", "use_reentrant should be passed", "loading adapter config", "my_adapter: lora"],
)
def test_prose_is_no_setting(line: str) -> None:
    assert facts_of(line) == {}


@pytest.mark.parametrize(
    ("settings", "strategy"),
    [
        ({"deepspeed": "deepspeed_configs/zero3_bf16.json"}, "deepspeed-zero3"),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, "deepspeed-zero2"),
        ({"zero_optimization": {"stage": 1}}, "deepspeed-zero1"),
        ({"fsdp": ["full_shard", "auto_wrap"]}, "fsdp"),
        ({"fsdp": [], "fsdp_config": {"fsdp_version": 2}}, "fsdp2"),
        ({"fsdp_version": 2, "fsdp": ["full_shard"]}, "fsdp2"),
        ({"ddp": True, "fsdp": []}, "ddp"),
        ({"ddp": False}, None),
        ({"adapter": "lora"}, None),
    ],
)
def test_the_strategy_of_a_configuration(settings: dict[str, object], strategy: str | None) -> None:
    assert facts_of(f"config:\n{json.dumps(settings, indent=2)}").get("strategy") == strategy


@pytest.mark.parametrize(
    ("path", "strategy"),
    [
        ("/opt/venv/lib/python3.11/site-packages/torch/nn/parallel/distributed.py", "ddp"),
        ("/opt/venv/lib/python3.11/site-packages/torch/distributed/fsdp/_flat_param.py", "fsdp"),
        ("/opt/venv/lib/python3.11/site-packages/torch/distributed/fsdp/_fully_shard/_fsdp_param.py", "fsdp2"),
        ("/opt/venv/lib/python3.11/site-packages/deepspeed/runtime/zero/stage3.py", "deepspeed-zero3"),
        ("/opt/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", None),
    ],
)
def test_the_strategy_of_a_traceback(path: str, strategy: str | None) -> None:
    reader = FactReader(())
    reader.take_framework(path, "run.log")
    assert {key: fact.value for key, fact in reader.facts().items()} == (
        {} if strategy is None else {"strategy": strategy}
    )


def test_the_strategy_that_accelerate_prints() -> None:
    assert facts_of("Distributed environment: DistributedType.MULTI_GPU  Backend: nccl")["strategy"] == "ddp"
    assert facts_of("Distributed environment: FSDP  Backend: nccl")["strategy"] == "fsdp"
    assert facts_of("Distributed environment: NO") == {}


@pytest.mark.parametrize(
    ("text", "framework"),
    [
        ("[2026-11-24 05:11:17,576] [INFO] [axolotl.cli.config] config:", "axolotl"),
        ('File "/x/site-packages/trl/trainer/sft_trainer.py"\nFile "/x/site-packages/transformers/trainer.py"', "trl"),
        ('File "/x/site-packages/transformers/trainer.py"', "transformers"),
        ("[rank0]:[titan] 2025-01-02 03:04:05 - root - INFO", "torchtitan"),
        ("/app/src/llamafactory/train/tuner.py", "llama-factory"),
        ("plain", None),
    ],
)
def test_the_framework(text: str, framework: str | None) -> None:
    reader = FactReader(())
    reader.take_framework(text, "run.log")
    fact = reader.facts().get("framework")
    assert (fact.value if fact else None) == framework


BLOCK = """
[0]:
  time      : 2026-11-24_04:39:59
  host      : gpu-node-01
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 24)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 24
"""


def failure(*blocks: str) -> dict[str, Value]:
    reader = FactReader(())
    for block in blocks:
        reader.take_failure("run.log", 1, numbered([Line(line) for line in block.strip("\n").split("\n")], 2))
    return {key: fact.value for key, fact in reader.facts().items()}


def test_the_failure_that_torchrun_saw_first() -> None:
    assert failure(BLOCK) == {
        "failed.time": "2026-11-24_04:39:59",
        "failed.host": "gpu-node-01",
        "failed.rank": 1,
        "failed.exitcode": -9,
    }


@pytest.mark.parametrize("order", [1, -1])
def test_over_several_nodes_the_earliest_counts(order: int) -> None:
    later = BLOCK.replace("04:39:59", "04:40:03").replace("gpu-node-01", "gpu-node-02")
    assert failure(*[BLOCK, later][::order])["failed.host"] == "gpu-node-01"


def test_the_block_is_found_in_a_log(find: Find) -> None:
    log = (
        "=" * 60
        + "\ntrain.py FAILED\n"
        + "-" * 60
        + "\nFailures:\n  <NO_OTHER_FAILURES>\n"
        + "-" * 60
        + "\nRoot Cause (first observed failure):"
        + BLOCK
    )
    assert find(log).facts["failed.rank"].value == 1
    assert find(log).facts["failed.rank"].path == "run.log"


@pytest.mark.parametrize(
    "metrics",
    [
        "{'loss': 2.0, 'learning_rate': 3e-07}",
        "step 1 lr: 3e-07 learning_rate: 3e-07 loss: 2.0",
        "learning_rate: 3e-07 loss: 2",
    ],
)
def test_the_rate_of_a_warm_up_is_no_setting(metrics: str, find_all: Find) -> None:
    setting = f"starting\n{metrics}\n{metrics}\nlearning_rate: 2e-05\n{metrics}\n"
    assert find_all(setting).facts["config.learning_rate"].value == "2e-05"


def test_facts_are_found_in_a_log_of_any_length(find_all: Find) -> None:
    noise = "2026-11-24 05:11:18,001 nothing of note\n" * 200
    facts = find_all(f"{noise}torch==2.4.0\n{noise}{AXOLOTL}{noise}Num processes: 4\n").facts
    assert (facts["version.torch"].value, facts["version.torch"].line) == ("2.4.0", 201)
    assert (facts["config.activation_offloading"].value, facts["config.activation_offloading"].line) == (True, 403)


def test_a_configuration_without_end_is_read_to_a_limit() -> None:
    def endless() -> Iterator[tuple[int, Line]]:
        for n in range(MOST_CONFIG_LINES + 10):
            assert n <= MOST_CONFIG_LINES
            yield n, Line("{")

    reader = FactReader(())
    reader.take(Line("config:"), "run.log", 1, endless())
    assert reader.facts() == {}


@pytest.mark.parametrize("body", ['{"a":' * 5000 + "\n}", "[1]\n}", "{\n}\n", "}\n}", '{"a": NaN\n}', "{" * 100])
def test_odd_configurations_do_no_harm(body: str) -> None:
    facts_of("config:\n" + body)


@given(
    st.lists(
        st.sampled_from(AXOLOTL.split("\n")) | st.text(max_size=40).map(lambda text: text.replace("\n", " ")),
        max_size=30,
    )
)
def test_no_lines_make_it_raise(lines: list[str]) -> None:
    facts_of("\n".join(["config:", *lines, "world_size: " + "9" * 5000]))


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("vocab_size: 400, parameters: 44192", {"config.vocab_size": 400}),
        ("parameters: 44192, vocab_size: 400, context = 64,", {"config.vocab_size": 400}),
        ("model has vocab_size: 400 and more, parameters: 44192 of them", {}),
        ("args: vocab_size=400 learning_rate=0.003", {"config.vocab_size": 400, "config.learning_rate": "0.003"}),
        ("training with vocab_size=400 and more", {}),
        ("step=3 loss=2.5 learning_rate=0.003", {}),
        ("step: 3, loss: 2.5, learning_rate: 0.0001", {}),
        ("{'loss': '2.5', 'grad_norm': '0.5', 'learning_rate': '1e-09', 'epoch': '0.1'}", {}),
        ("{'learning_rate': 1e-05, 'vocab_size': 400}", {"config.learning_rate": "1e-05", "config.vocab_size": 400}),
    ],
)
def test_pairs_are_settings_and_metrics_are_not(line: str, settings: Mapping[str, Value]) -> None:
    assert facts_of(line, "vocab_size", "learning_rate") == settings
