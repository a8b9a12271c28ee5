"""The two charts of a run: does it learn, and is what it learns sound? Written to `charts/` of the run directory.

The look shared by every chart of the project is here too: colours with one meaning each (Okabe and Ito's palette, told
apart by colour-blind people), mid-grey text and no background, so that a chart reads on light and dark pages alike
(image files get white paper).
`analysis.charts` builds the others on it. altair and pandas are imported where they are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from star.run import Run
from star.statistics import EMPTY, wilson

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

COLOURS = {
    "accuracy": "#0072B2",
    "sound": "#009E73",
    "unsound": "#D55E00",
    "generated": "#56B4E9",
    "rationalized": "#E69F00",
    "faithfulness": "#CC79A7",
    "neutral": "#8C8C8C",
}
"""Meaning -> colour. Right answers are blue, sound ones green, right-but-unsound ones vermillion, everywhere."""
INKS = {"light": "#57606A", "dark": "#A0A7B0", "paper": "#3C3C3C", "any": "#757575"}
"""Page -> text and axes: contrast above 4.5 with it; "any", for what may lie on white or near-black, 4.6 and 4.1."""
SERIES = ("#5B4BC4", "#999933", "#AA4499", "#44AA99", "#882255", "#88CCEE", "#8C8C8C")
"""Colours where lines are runs or recipes: after Tol's muted scheme, none of the above; shapes differ too."""
WIDTH, HEIGHT = 640, 260


def rounds_frame(metrics: Iterable[Mapping[str, Any]], run: str = "") -> pd.DataFrame:
    """One row per round and slice ("all" first) from `Run.rounds`.

    Columns: run, round, slice, n, correct, accuracy, low, high (95 % Wilson); sound (count of right answers whose
    rationale is sound), right_sound, right_sound_low, right_sound_high (its share of n), unsound (share of n that is
    right but unsound), sound_of_correct; NaN where the task has no check.
    """
    import pandas as pd

    rows = []
    for line in metrics:
        selection = line["selection"]
        n, correct = int(selection.get("n") or 0), int(selection.get("correct") or 0)
        share = selection.get("sound_of_correct")
        rows.append(_row(run, line, "all", n, correct, None if share is None else round(share * correct)))
        for name, part in (selection.get("slices") or {}).items():
            if name == "all":
                continue  # of a task without slices
            sound = part.get("sound") if share is not None else None  # without a check the count is a plain 0
            rows.append(_row(run, line, str(name), int(part.get("n") or 0), int(part.get("correct") or 0), sound))
    return pd.DataFrame(rows, columns=list(_row(run, {"round": 0}, "all", 0, 0, None)))


def _row(run: str, line: Mapping[str, Any], name: str, n: int, correct: int, sound: int | None) -> dict[str, Any]:
    accuracy = wilson(min(correct, n), n)
    row: dict[str, Any] = {"run": run, "round": int(line.get("round", 0)), "slice": name, "n": n, "correct": correct}
    row |= {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}
    sound = None if sound is None else min(int(sound), correct)
    both = EMPTY if sound is None else wilson(sound, n)
    row |= {"sound": math.nan if sound is None else float(sound)}
    row |= {"right_sound": both.value, "right_sound_low": both.low, "right_sound_high": both.high}
    row["unsound"] = (correct - sound) / n if sound is not None and n else math.nan
    row["sound_of_correct"] = sound / correct if sound is not None and correct else math.nan
    return row


def slice_order(names: Iterable[str]) -> list[str]:
    """Slices in reading order: by the number they hold ("2 digits" before "10 digits"), then by name."""
    return sorted(set(names), key=lambda name: (_first_number(name), name))


def _first_number(text: str) -> float:
    match = re.search("[0-9]+", text[:80])
    return float(match[0]) if match else math.inf


def style(chart: Any, page: Literal["light", "dark", "paper", "any"] = "any") -> Any:
    """The project's look; call it once, on the outermost chart. `page`: what it lies on; paper brings its own white."""
    ink = INKS[page]
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    lines = {"gridColor": "#808080", "gridOpacity": 0.22, "domainColor": "#808080", "domainOpacity": 0.5}
    font = "DejaVu Sans, Helvetica, Arial, sans-serif"
    return (
        chart.configure(background="white" if page == "paper" else "transparent", padding=12, font=font)
        .configure_view(stroke=None)
        .configure_axis(**text, **lines, ticks=False, labelPadding=6, titlePadding=8, labelFlush=False)
        .configure_legend(**text, orient="top", direction="horizontal", labelLimit=260, symbolOpacity=1)
        .configure_title(color=ink, subtitleColor=ink, anchor="start", fontSize=16, subtitleFontSize=12, offset=14)
        .configure_header(**(text | {"labelFontWeight": "bold"}))
    )


def title(question: str, *subtitle: str) -> Any:
    """A title that states the question the chart answers, and what it rests on below."""
    import altair as alt

    return alt.TitleParams(question, subtitle=[line for line in subtitle if line])


def share_axis(name: str, field: str = "accuracy") -> Any:
    """A y axis of shares, 0 to 100 %."""
    import altair as alt

    return alt.Y(f"{field}:Q", title=name, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5))


def round_axis(rounds: Iterable[int]) -> Any:
    """An x axis of rounds with whole numbers; 0 is the base model."""
    import altair as alt

    numbers = sorted(set(rounds)) or [0]
    step = max(1, math.ceil(len(numbers) / 20))
    axis = alt.Axis(values=[r for r in numbers if r % step == 0], format="d", grid=False)
    scale = alt.Scale(domain=[numbers[0], max(numbers[-1], numbers[0] + 1)], nice=False)
    return alt.X("round:Q", title="round (0: base model)", axis=axis, scale=scale)


def n_note(frame: pd.DataFrame) -> str:
    """ "n = 500 problems", from the column n of a frame with a row for each round."""
    counts = sorted({int(n) for n in frame["n"]}) or [0]
    return f"n = {counts[0]:,}" if len(counts) == 1 else f"n = {counts[0]:,} to {counts[-1]:,}"


def tooltip(*fields: str) -> list[Any]:
    """Tooltips: shares in per cent, the rest as it is."""
    import altair as alt

    whole = ("n", "correct", "round", "count", "rows")
    return [
        alt.Tooltip(field, format=",d" if field in whole else "")
        if field in (*whole, "run", "slice", "recipe", "kind", "label", "arm")
        else alt.Tooltip(f"{field}:Q", format=".1%", title=field.replace("_", " "))
        for field in fields
    ]


def accuracy_by_round(frame: pd.DataFrame, question: str = "Does it learn?") -> alt.LayerChart | alt.FacetChart:
    """Accuracy of all problems with its 95 % band, and a thin line for each slice. Takes `rounds_frame` of one run."""
    import altair as alt

    whole, parts = frame[frame["slice"] == "all"], frame[frame["slice"] != "all"]
    order = slice_order(parts["slice"])
    x = round_axis(frame["round"])
    tips = tooltip("round", "slice", "accuracy", "low", "high", "n")
    base = alt.Chart(whole.assign(slice="all problems")).encode(x=x)
    blue = COLOURS["accuracy"]
    layers = [
        base.mark_area(color=blue, opacity=0.16).encode(y="low:Q", y2="high:Q"),
        base.mark_line(color=blue, strokeWidth=3.5).encode(y=share_axis("answers right")),
        base.mark_circle(color=blue, size=60, opacity=1).encode(y="accuracy:Q", tooltip=tips),
    ]
    if len(order) > 1:
        domain, colours = ["all problems", *order], [blue, *slice_colours(len(order))]
        legend = alt.Legend(title=None, columns=6 if len(domain) > 6 else 0)  # in one line, the last ones are cut off
        colour = alt.Color("slice:N", scale=alt.Scale(domain=domain, range=colours), legend=legend)
        lines = alt.Chart(parts).mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=22))
        layers.insert(0, lines.encode(x=x, y=share_axis("answers right"), color=colour, tooltip=tips))
    note = f"answers right on the selection problems, {n_note(whole)}; band: 95 % interval"
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title(question, note))


def slice_colours(count: int) -> list[str]:
    """Colours for ordered slices: purple to orange with falling darkness, clear of the blue that means "all"."""
    stops = [(126, 64, 196), (177, 42, 144), (225, 100, 98), (252, 166, 54)]  # the plasma map's middle part
    places = np.linspace(0, len(stops) - 1, count)
    mixed = [np.interp(places, range(len(stops)), part) for part in zip(*stops, strict=True)]
    return ["#" + "".join(f"{round(value):02x}" for value in colour) for colour in zip(*mixed, strict=True)]


def soundness_by_round(frame: pd.DataFrame) -> alt.VConcatChart | alt.LayerChart | alt.FacetChart | None:
    """Right answers, right and sound ones, and the gap between; below, the same by slice. None without a check."""
    import altair as alt

    frame = frame[frame["right_sound"].notna()]
    whole, parts = frame[frame["slice"] == "all"], frame[frame["slice"] != "all"]
    if not len(whole):
        return None
    note = f"share of the selection problems, {n_note(whole)}, with 95 % intervals"
    more = "right but unsound: right answer, wrong reasoning"
    asked = title("Are the right answers right for the right reason?", note, more)
    top = _gap(whole, legend=True).properties(width=WIDTH, height=HEIGHT, title=asked)
    order = slice_order(parts["slice"])
    if len(order) < 2:
        return top
    across = min(5, len(order))
    small = [
        _gap(parts[parts["slice"] == name], legend=False).properties(
            width=(WIDTH - 60 * (across - 1)) / across, height=110, title=alt.TitleParams(name, fontSize=12, offset=6)
        )
        for name in order
    ]
    rows = [alt.hconcat(*small[i : i + across], spacing=22) for i in range(0, len(small), across)]
    return alt.vconcat(top, *rows, spacing=26).resolve_scale(color="independent")


def _gap(frame: pd.DataFrame, *, legend: bool) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    names = {"right": COLOURS["accuracy"], "right and sound": COLOURS["sound"], "right but unsound": COLOURS["unsound"]}
    key = alt.Legend(title=None, symbolType="square", symbolStrokeWidth=0) if legend else None
    colour = alt.Color("kind:N", scale=alt.Scale(domain=list(names), range=list(names.values())), legend=key)
    x = round_axis(frame["round"]) if legend else round_axis(frame["round"]).title(None)
    y = share_axis("problems" if legend else "", "share")
    tips = tooltip("round", "accuracy", "right_sound", "unsound", "n")
    area = alt.Chart(frame.assign(kind="right but unsound")).mark_area(opacity=0.3)
    layers = [area.encode(x=x, y=alt.Y("right_sound:Q"), y2="accuracy:Q", color=colour, tooltip=tips)]
    for kind, value, low, high in (
        ("right", "accuracy", "low", "high"),
        ("right and sound", "right_sound", "right_sound_low", "right_sound_high"),
    ):
        base = alt.Chart(frame.assign(kind=kind, share=frame[value])).encode(x=x, color=colour, tooltip=tips)
        layers.append(base.mark_line(strokeWidth=3 if legend else 2, point=legend).encode(y=y))
        if legend:
            layers.append(base.mark_rule(strokeWidth=1.5).encode(y=alt.Y(f"{low}:Q"), y2=f"{high}:Q"))
    return alt.layer(*layers)


def save(chart: Any, path: Path) -> Path:
    """Write a chart as .png, .svg, .html or .json by its ending, under a temporary name that is then renamed.

    Raises ValueError for another ending.
    """
    if path.suffix not in (".png", ".svg", ".json", ".html"):
        raise ValueError(f"{path}: expected a name that ends in .png, .svg, .html or .json")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp{path.suffix}")
    style(chart, "paper" if path.suffix == ".png" else "any").save(temporary, scale_factor=2.0)
    temporary.replace(path)
    return path


def save_run_charts(run_dir: Path) -> list[Path]:
    """Write charts/accuracy.png and, where rationales are checked, charts/soundness.png; returns what was written."""
    frame = rounds_frame(Run(run_dir).rounds, run_dir.name)
    if not len(frame):
        return []
    written = [save(accuracy_by_round(frame), run_dir / "charts" / "accuracy.png")]
    soundness = soundness_by_round(frame)
    if soundness is not None:
        written.append(save(soundness, run_dir / "charts" / "soundness.png"))
    return written
