import pytest

from doctor.catalog import Catalog
from doctor.errors import SignatureError
from doctor.finding import Confidence, Finding, Role, Severity, Tensor
from doctor.signature import Scale, Signature
from doctor.weights.inspection import signatures_for
from doctor.weights.match import match_sample, ranges
from doctor.weights.samples import parse_sample


@pytest.fixture(scope="module")
def scales(bundled: Catalog) -> list[Signature]:
    return signatures_for(bundled, ())


def test_every_scale_signature_fires_on_its_hits_alone_and_not_on_its_misses(scales: list[Signature]) -> None:
    assert len(scales) > 20
    for signature in scales:
        for sample in signature.hits:
            assert {other.id for other in scales if match_sample(other, sample.text)} == {signature.id}
        for sample in signature.misses:
            assert match_sample(signature, sample.text) == [], f"{signature.id}: {sample.why}"


def test_a_finding_in_full(scales: list[Signature]) -> None:
    signature = next(one for one in scales if one.id == "moe/weight-scale-drift")
    (finding,) = match_sample(signature, signature.hits[0].text)
    assert finding == Finding(
        id="moe/weight-scale-drift",
        title="DeltaNet convolutions drifted out of scale (1 of 4 layers)",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH,
        role=Role.ROOT,
        place=Tensor("model.safetensors", "model.layers.36.linear_attn.conv1d.weight"),
        evidence=("model.layers.36.linear_attn.conv1d.weight  std 0.101870, 1.62 x the centre",),
        cause=finding.cause,
        fix=finding.fix,
        config=finding.config,
        captures={
            "tensor": "model.layers.36.linear_attn.conv1d.weight",
            "file": "model.safetensors",
            "count": "1",
            "of": "4",
            "layers": "36",
            "worst": "1.62",
            "centre": "0.063000",
        },
        references=signature.references,
        fingerprint=finding.fingerprint,
    )
    assert finding.cause.startswith("Out of line: layer 36 (worst 1.62 x the centre 0.063000).")
    assert "normalize_weight_scales" in finding.config


def test_fingerprints_are_equal_for_the_same_tensors_only(scales: list[Signature]) -> None:
    nonfinite = next(one for one in scales if one.id == "weights/nonfinite")
    prints = [match_sample(nonfinite, text)[0].fingerprint for text in ("a.1.w nan=1", "a.1.w nan=7", "a.2.w nan=1")]
    assert prints[0] == prints[1] != prints[2]


def test_evidence_is_cut(scales: list[Signature]) -> None:
    nonfinite = next(one for one in scales if one.id == "weights/nonfinite")
    (finding,) = match_sample(nonfinite, "\n".join(f"l.{i}.w nan=1" for i in range(40)))
    assert (finding.count, len(finding.evidence), finding.evidence[-1]) == (40, 13, "... and 28 more")


def test_thresholds_come_from_the_signature(scales: list[Signature]) -> None:
    signature = next(one for one in scales if one.id == "moe/weight-scale-drift")
    assert signature.match == Scale("drift", r"linear_attn\.conv1d\.weight", "std", {"threshold": 1.3, "least": 3})


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([1, 2, 5, 36, 37, 38]) == "1, 2, 5, 36-38"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.weight std=x", "could not convert"),
        ("a.weight sdt=1", "unknown key sdt"),
        ("a.weight dtype=F12", "F12 is not a dtype"),
        ("fault broken x", "expected fault KIND FILE DETAIL"),
        ("config vocab_size", "expected key=value"),
    ],
)
def test_samples_that_can_not_be_read(line: str, said: str) -> None:
    with pytest.raises(SignatureError) as caught:
        parse_sample(line)
    assert f'sample line "{line}": ' in str(caught.value)
    assert said in str(caught.value)
