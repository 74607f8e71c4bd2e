from doctor.render.chart import chart


def group(stds: list[float], outliers: dict[int, float]) -> dict[str, object]:
    return {
        "pattern": "conv1d",
        "statistic": "std",
        "centre": 0.06,
        "threshold": 1.5,
        "values": [[f"layers.{i}.conv1d.weight", i, std] for i, std in enumerate(stds)],
        "outliers": [{"tensor": f"layers.{i}.conv1d.weight", "ratio": ratio} for i, ratio in outliers.items()],
    }


def test_a_chart() -> None:
    assert chart(group([0.06, 0.05, 0.12, 0.02], {2: 2.0, 3: 1 / 3})) == [
        "std of conv1d, 4 tensors",
        "centre 0.060000, limits 0.040000 to 0.090000 (1.5 x), marked |",
        "layer 0 0.060000 ############|#####        |",
        "layer 1 0.050000 ############|##           |",
        "layer 2 0.120000 ############|#############|########  2.00 x <--",
        "layer 3 0.020000 ######      |             |  0.33 x <--",
    ]


def test_long_groups_show_their_outliers_and_what_is_around_them() -> None:
    lines = chart(group([0.06] * 30 + [0.12] + [0.06] * 30, {30: 2.0}))
    assert [line.split(" #")[0].strip() for line in lines[2:]] == [
        "layer 0 0.060000",
        "... 27 more, 0.060000 to 0.060000",
        *(f"layer {i} {0.12 if i == 30 else 0.06:.6f}" for i in range(28, 33)),
        "... 27 more, 0.060000 to 0.060000",
        "layer 60 0.060000",
    ]


def test_no_values() -> None:
    assert chart(group([], {})) == []
