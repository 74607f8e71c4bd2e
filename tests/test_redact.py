"""Nothing that is secret leaves the machine, in whatever field and format it stands."""

import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.finding import Confidence, Finding, Lines, Role, Severity
from doctor.redact import Redactor, redacted
from doctor.render import json as json_render
from doctor.render import markdown, terminal
from doctor.report import Report, Subject
from doctor.rootcause import State, Verdict

ALNUM = string.ascii_letters + string.digits
SECRETS = {
    "hf": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "github": "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "openai": "sk-proj-" + "abcdefghijklmnopqrstuvwx",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJVadQssw5c",
    "email": "maria.lopez@example.com",
    "ip": "10.12.0.7",
}
PHRASES = {
    "password=Tr0ub4dor&3": "Tr0ub4dor&3",
    "WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567": "0123456789abcdef0123456789abcdef01234567",
    "Authorization: Bearer abcdef0123456789": "abcdef0123456789",
    "https://maria:s3cret-pass@hub.example.com/repo": "maria:s3cret-pass",
    "aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    '"hub_token": "abcdefgh12345678"': "abcdefgh12345678",
    "/home/maria/run/train.py": "maria",
    "C:\\Users\\maria\\train.py": "maria",
    "/scratch/maria7/run/train.py": "maria7",
    "/users/maria/run/train.py": "maria",
    "/storage/home3/maria/run/train.py": "maria",
    "/project/p123/users/maria/run/train.py": "maria",
    "/u/maria/run": "maria",
    "/lustre/scratch/maria7/run/train.py": "maria7",
    "/home/DAIR/maria7/run/train.py": "maria7",
    "/work/pi_jones_lab/maria7/run/train.py": "maria7",
    "in /work/pi_jones-lab/shared/model": "jones-lab",
    "View run at: https://wandb.ai/maria-lopez/bert/runs/6ktyafba": "maria-lopez",
    "wandb: Currently logged in as: maria-lopez (team)": "maria-lopez",
    "connect to [gpu-node-07]:29500 failed": "gpu-node-07",
    "host      : worker-12.cluster.local": "worker-12.cluster.local",
    "[2026-03-17] error: *** JOB 824185 ON gpu2255 CANCELLED AT 2026": "gpu2255",
    "ip-10-0-3-17.ec2.internal died": "ip-10-0-3-17",
}
HARMLESS = (
    "/data/train/part-1.json below /scratch/datasets/c4 and /scratch/project_465000/x",
    "/data/users/all/x and /usr/lib/python3/site-packages/app/users/views.py and https://x.org/users/guide/a",
    "https://docs.wandb.ai/guides/launch, https://wandb.ai/authorize, HF_HOME=/scratch/$USER/hf",
    "cuDNN version 9.1.0.70 and driver 570.86.10",
    "(tokenizer.pad_token = tokenizer.eos_token e.g.)",
    "token: None",
    "eos_token_id=128009 max_tokens=4096",
    "listening on 127.0.0.1 and 0.0.0.0, see localhost:6006",
    "torch==2.13.0 transformers 5.6.0",
    "RuntimeError: CUDA error: out of memory at step 1234567",
    "site-packages/torch/distributed/run.py:803",
    "INFO [model_runner.py:1892] weights, [ProcessGroupNCCL.cpp:2303], modeling_llama.py:1161: FutureWarning, run-4.log:1024",
    "Target modules {'q_proj', 'v_proj'} not found in the base model.",
)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("around", ["{}", "x {} y", '"{}"', "({})", "key: '{}',", "a={}&b"])
def test_secrets_go(secret: str, around: str) -> None:
    assert secret not in Redactor().text(around.format(secret))


@pytest.mark.parametrize(("phrase", "secret"), PHRASES.items())
def test_what_a_phrase_gives_away_goes(phrase: str, secret: str) -> None:
    assert secret not in Redactor().text(phrase)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_a_host_whose_name_ends_like_a_file_is_one() -> None:
    assert Redactor().text("connect to db.example.py:5432") == "connect to <host-1>:5432"


def test_pseudonyms_are_stable_and_tell_things_apart() -> None:
    text = Redactor().text("10.0.0.1 to 10.0.0.2 and back to 10.0.0.1 for a@b.org")
    assert text == "<ip-1> to <ip-2> and back to <ip-1> for <email-1>"


def test_hosts_of_the_findings_go_wherever_they_stand() -> None:
    assert Redactor(["gpu-node-03"]).text("rank 3 of gpu-node-03 died") == "rank 3 of <host-1> died"


def test_a_second_pass_changes_nothing() -> None:
    redactor = Redactor(["gpu-node-03"])
    once = redactor.text("\n".join([*SECRETS.values(), *PHRASES, "gpu-node-03", *HARMLESS]))
    assert redactor.text(once) == once


def planted(secret: str) -> Report:
    """A report with a secret in every field that comes from the input."""
    place = Lines(f"/data/{secret}.log", 1, 2, 0, "gpu-node-03", 1.0)
    finding = Finding(
        "a/b", f"title {secret}", Severity.ERROR, Confidence.HIGH, Role.ROOT, place, (f"evidence {secret}",), f"cause {secret}",
        f"fix {secret}", f"key: {secret}", captures={"name": secret}, fingerprint="0123456789ab",
    )  # fmt: skip
    return Report(
        subject=Subject("logs", (f"/data/{secret}.log",)),
        verdict=Verdict(State.FOUND, "a/b", f"summary {secret}", (f"collect {secret}",)),
        findings=(finding,),
        facts={"config.name": secret},
        signatures=1,
        digest="d",
        skipped=(("a/c", f"why {secret}"),),
        traces=({"name": secret},),
        groups=({"pattern": secret, "outliers": []},),
        plan=({"tensor": secret, "file": secret, "std": 1.0, "ratio": 1.0, "factor": 1.0},),
        written=f"/data/{secret}",
    )


@pytest.mark.parametrize(
    "render", [terminal.render, markdown.render, json_render.render], ids=["terminal", "markdown", "json"]
)
@given(body=st.text(ALNUM, min_size=30, max_size=40), kind=st.sampled_from(["hf_", "ghp_", "sk-", "glpat-"]))
@settings(max_examples=25, deadline=None)
def test_no_format_shows_a_planted_secret(render: object, kind: str, body: str) -> None:
    clean, redactor = redacted(planted(kind + body))
    text = render(clean)  # type: ignore[operator]
    assert body not in text
    assert "gpu-node-03" not in text
    assert redactor.text(text) == text


def test_ids_references_and_fingerprints_are_left_alone() -> None:
    clean, _ = redacted(planted("x"))
    assert clean.findings[0].fingerprint == "0123456789ab"
    assert clean.redacted


def test_real_logs_with_users_and_hosts(fixture_logs: Path) -> None:
    from doctor import catalog
    from doctor.diagnose import diagnose_logs

    log = fixture_logs / "failing" / "trainer-ddp-find-unused-reentrant.log"
    clean, _ = redacted(diagnose_logs([str(log)], catalog.load()))
    text = json_render.render(clean)
    assert "maria" in log.read_text() and "maria" not in text


@pytest.mark.parametrize("told", ["/home/maria7/a.py", "USER=maria7", "maria7@login1:~$ sbatch a.sh"])
def test_a_user_who_is_known_is_masked_in_any_path(told: str) -> None:
    report = planted("x")
    report = replace(
        report, skipped=(("/project/60/maria7/runs/a.log", "why"), (told, "why"), ("/data/train/a.log", "why"))
    )
    paths = [path for path, _ in redacted(report)[0].skipped]
    assert "maria7" not in paths[0]
    assert paths[2] == "/data/train/a.log"


def test_a_home_folder_with_a_common_name_masks_nothing_else() -> None:
    assert Redactor(users=["train", "hf"]).text("/data/train/hf/a") == "/data/train/hf/a"
