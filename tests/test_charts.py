"""Charts: the numbers behind them, a file for every chart, one meaning per colour."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import charts
from star import charts as run_charts
from star.run import Run
from tests.run_factory import make_run

ROOT = Path(__file__).resolve().parent.parent


def interval(value: float, n: int = 50) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": n}


CASES: dict[str, Callable[[], Any]] = {
    "truncation_curve": lambda: charts.truncation_curve(
        pd.DataFrame([{"place": p, "same": p, "low": p, "high": p, "n": 9} for p in (0, 0.5, 1)])
    ),
    "measure_bars": lambda: charts.measure_bars(
        pd.DataFrame([{"label": "reliance", "kind": k, **interval(v)} for k, v in (("effect", 0.8), ("control", 0.1))])
    ),
    "against_size": lambda: charts.against_size(
        pd.DataFrame(
            [
                {"parameters": size, "arm": arm, "measure": m, **interval(0.5)}
                for size, arm, m in itertools.product(
                    (3e4, 4e6), ("STaR", "few-shot"), ("answers right", "sound", "gap")
                )
            ]
        ),
        "Do larger models reason better?",
    ),
    "comparison": lambda: charts.comparison(
        pd.DataFrame([{"label": name, "measure": "answers right", **interval(0.4)} for name in "ab"])
    ),
    "reliability": lambda: charts.reliability(
        pd.DataFrame([{"predicted": 0.1, "observed": 0.12, "low": 0.05, "high": 0.2, "n": 90}])
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_chart_draws(name: str, tmp_path: Path) -> None:
    chart = CASES[name]()
    image = charts.save(chart, tmp_path / f"{name}.svg")
    text = image.read_text()
    assert text.startswith("<svg") and "NaN" not in text and "undefined" not in text
    assert chart.to_dict()["title"]["text"].endswith("?")


def test_frame_counts_what_metrics_say(tmp_path: Path) -> None:
    metrics = Run(make_run(tmp_path, rounds=2, problems=60)).rounds
    frame = charts.rounds_frame(metrics, "r")
    whole = frame[frame["slice"] == "all"].set_index("round")
    for line in metrics:
        row = whole.loc[line["round"]]
        assert row["accuracy"] == pytest.approx(line["selection"]["accuracy"]) and row["n"] == 60
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["right_sound"] + row["unsound"] == pytest.approx(row["accuracy"])
    parts = frame[(frame["slice"] != "all") & (frame["round"] == 2)]
    assert parts["correct"].sum() == whole.loc[2, "correct"] and parts["sound"].sum() == whole.loc[2, "sound"]


def test_a_task_without_slices_has_one_row_a_round() -> None:
    whole = {"n": 10, "correct": 5}
    frame = charts.rounds_frame([{"round": 0, "selection": whole | {"slices": {"all": whole}}}])
    assert frame[["round", "slice", "n", "correct"]].to_numpy().tolist() == [[0, "all", 10, 5]]


def test_data_frame_counts_every_sampled_rationale(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=30, require="sound")
    frame = charts.data_frame(Run(run).rounds)
    rows = len(pd.read_parquet(run / "round_01" / "attempts.parquet", columns=["attempt_id"]))
    assert frame[frame["round"] == 1]["rows"].sum() == rows
    assert set(frame["kind"]) == {"generated", "rationalized", "dropped"} and "unsound" in set(frame["label"])
    text = charts.save(charts.data_by_round(frame), tmp_path / "data.svg").read_text()
    assert "rationalized" in text


def test_run_charts_are_written_and_soundness_only_where_checked(tmp_path: Path) -> None:
    checked = run_charts.save_run_charts(make_run(tmp_path, rounds=2, problems=30))
    assert [path.name for path in checked] == ["accuracy.png", "soundness.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in checked)
    unchecked = run_charts.save_run_charts(make_run(tmp_path, name="words", task="gsm8k", rounds=1, problems=30))
    assert [path.name for path in unchecked] == ["accuracy.png"]
    assert run_charts.save_run_charts(tmp_path) == []


def test_a_check_that_does_not_exist_is_not_drawn_as_zero() -> None:
    slices = {"a": {"n": 5, "correct": 4, "sound": 0}, "b": {"n": 5, "correct": 4, "sound": 0}}
    line = {"round": 0, "selection": {"n": 10, "correct": 8, "sound_of_correct": None, "slices": slices}}
    frame = charts.rounds_frame([line])
    assert frame["right_sound"].isna().all() and charts.soundness_by_round(frame) is None


def test_a_colour_has_one_meaning() -> None:
    named = list(charts.COLOURS.values())
    assert len(set(named)) == len(named)
    shared = set(named) & set(run_charts.SERIES)
    assert shared <= {charts.COLOURS["neutral"]}
    assert not set(named) & set(run_charts.slice_colours(5))


def contrast(first: str, second: str) -> float:
    """WCAG 2's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_read_on_every_page() -> None:
    for page, ground in (("light", "#ffffff"), ("dark", "#0e1117"), ("paper", "#ffffff"), ("any", "#ffffff")):
        assert contrast(run_charts.INKS[page], ground) >= 4.5, page
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    for theme in ("light", "dark"):
        assert contrast(config["theme"][theme]["primaryColor"], "#ffffff") >= 4.5, theme  # white words on a button


def test_a_dot_at_the_end_of_an_axis_stays_clear_of_the_labels() -> None:
    rows = [{"label": name, "measure": "a", "value": 0.0, "low": 0.0, "high": 0.1, "n": 9} for name in "xy"]
    rows.append({"label": "x", "measure": "b", "value": 1.0, "low": 0.9, "high": 1.0, "n": 9})
    chart = charts.comparison(pd.DataFrame(rows)).to_dict()
    first, second = chart["concat"]
    assert first["layer"][0]["encoding"]["x"]["scale"]["domain"] == [-0.03, 1.03]
    assert second["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["x"]  # no empty row for an arm without a value


def test_slices_are_in_reading_order() -> None:
    assert run_charts.slice_order(["10 digits", "2 digits", "1 digit", "other"]) == [
        "1 digit",
        "2 digits",
        "10 digits",
        "other",
    ]


def test_the_names_of_many_slices_do_not_widen_the_chart(tmp_path: Path) -> None:
    def width(slices: int) -> float:
        names = ["all", *(f"{digits} digits" for digits in range(1, slices + 1))]
        rows = [{"run": "r", "round": 0, "slice": name, "n": 9, "accuracy": 0.5, "low": 0.4, "high": 0.6} for name in names]
        image = charts.save(charts.accuracy_by_round(pd.DataFrame(rows)), tmp_path / "chart.svg").read_text()
        return float(image.partition(' width="')[2].partition('"')[0])

    assert width(10) <= width(3) + 5


def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    frame = pd.DataFrame([{"label": "<script>alert(1)</script>", "measure": "answers right", **interval(0.4)}])
    text = charts.save(charts.comparison(frame), tmp_path / "x.svg").read_text()
    assert "<script" not in text
    json.dumps(charts.style(charts.comparison(frame)).to_dict())


def test_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg"):
        charts.save(CASES["comparison"](), tmp_path / "chart.gif")
