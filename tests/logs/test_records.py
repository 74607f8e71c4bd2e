"""Whose words a line holds: a failure's, or those of advice, source code and samples that only name one."""

import pytest

from doctor.logs.records import Frame, advises, quotes

# What real programs print in healthy runs, and library code as tracebacks and warnings show it.
ADVICE = [
    "This might be caused by a mismatch between your CUDA toolkit and your driver",
    "The crash is most likely caused by an out of memory error in a worker",
    "For debugging consider passing CUDA_LAUNCH_BLOCKING=1",
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
    "Consider using `gradient_checkpointing` if you run out of memory",
    "If you encounter CUDA out of memory, reduce the batch size",
    "  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html",
    "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.",
    "There are a few potential root causes. (1) The process is killed by SIGKILL by OOM killer. (2) ray stop was called.",
    "(1) The process is killed by SIGKILL by OOM killer. (2) ray stop was called. (3) The worker crashed by a segfault.",
    "Tip: pass device_map='auto' when CUDA is out of memory",
    "hint: updates were rejected",
]
SOURCE = [
    '    raise ValueError("Expected to mark a variable ready only once")',
    "raise RuntimeError(",
    "    if loss is None:",
    "    elif x:",
    "    except torch.cuda.OutOfMemoryError:",
    '    assert x, "CUDA out of memory"',
    '    return "CUDA out of memory"',
    '    print("CUDA out of memory")',
    '    logger.warning("CUDA out of memory")',
    '    self.logger.error("CUDA out of memory")',
    '    message = f"CUDA out of memory {x}"',
    '    "Expected to mark a variable ready only once. "',
    "    # CUDA out of memory",
    '  warnings.warn("CUDA out of memory")',
    '>>> raise ValueError("CUDA out of memory")',
    '    120 raise ValueError("CUDA out of memory")',
    '+   raise ValueError("CUDA out of memory")',
]
SAMPLES = [
    "{'prompt': 'Why does it say RuntimeError: CUDA out of memory?', 'completion': 'Because ...'}",
    '{"messages": [{"role": "user", "content": "Traceback (most recent call last): CUDA out of memory"}]}',
    "sample 0: {'text': 'CUDA out of memory'}",
    "  sample: 'Fatal Python error: Segmentation fault' -> segfault",
    '"instruction": "Explain: CUDA error: device-side assert triggered"',
    "{'chosen': 'CUDA out of memory', 'rejected': 'x'}",
    "prompt: What does 'RuntimeError: Expected to mark a variable ready only once.' mean under DDP?",
    "Assistant: ModuleNotFoundError: No module named 'deepspeed' means that it is not installed",
]
STATEMENTS = [
    "RuntimeError: Expected to mark a variable ready only once.",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "[rank0] failed (exitcode: -9) local_rank: 1 (pid: 24) of binary: /opt/venv/bin/python3",
    "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0.",
    "ERROR: CUDA out of memory",
    "    RuntimeError: CUDA out of memory",
    "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.",
    "ValueError: Caught ValueError in DataLoader worker process 0.",
    "KeyError: 'text'",
    "returned non-zero exit status 1.",
    "assertion failed",
    "iffy: value",
]


@pytest.mark.parametrize("line", ADVICE)
def test_advice_is_known(line: str) -> None:
    assert advises(line)


@pytest.mark.parametrize("line", [*SOURCE, *SAMPLES])
def test_source_and_samples_are_known(line: str) -> None:
    assert quotes(line)


@pytest.mark.parametrize("line", STATEMENTS)
def test_statements_are_neither(line: str) -> None:
    assert not advises(line)
    assert not quotes(line)


def test_a_frame_is_written_as_signatures_match_it() -> None:
    assert str(Frame("a/b.py", 3, "main", "run()")) == "a/b.py:3 in main: run()"
