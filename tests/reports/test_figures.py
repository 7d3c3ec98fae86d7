"""What figures show: the right runs, the right values, and what is said of them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import LinearConstraint, minimize

from bench.errors import BenchError
from bench.report import Runs
from bench.store import RunStore
from bench.verdict import Ours, judge
from reports.figures import FIGURES, Drawing, draw_all
from reports.figures.curves import spread
from reports.figures.published import drawings
from reports.figures.series import labels, unique
from reports.figures.style import BASELINES, GREY, looks
from reports.frame import Selection
from tests.records import metric, record
from tests.reports.figure_records import (
    METHODS,
    costs,
    equivariance,
    few_shot,
    predictions,
    regression,
    scale,
    stored,
)

ANY = Selection()


def one(kind: str, runs: Runs, selection: Selection = ANY) -> Drawing:
    (drawing,) = FIGURES[kind].draw(runs, selection)
    assert drawing.kind == kind
    return drawing


def axes_of(drawing: Drawing) -> list[Axes]:
    assert isinstance(drawing.figure, Figure)
    return drawing.figure.axes


def line_through(axes: Axes, x: list[float]) -> list[np.ndarray[Any, Any]]:
    """The heights of the lines at these places, which no other line has."""
    found = [line for line in axes.lines if np.array_equal(np.asarray(line.get_xdata()), x)]
    return [np.asarray(line.get_ydata()) for line in found]


def marks(axes: Axes) -> set[tuple[float, ...]]:
    """The places of single marks."""
    places = [
        np.concatenate([np.asarray(line.get_xdata()), np.asarray(line.get_ydata())]) for line in axes.lines
    ]
    return {tuple(place.tolist()) for place in places if len(place) == 2}


def texts(axes: Axes) -> set[str]:
    return {text.get_text() for text in axes.texts}


# --- curves ----------------------------------------------------------------------------------------


def test_a_few_shot_curve_has_the_values_of_its_record_and_the_deviation_as_its_band() -> None:
    drawing = one("fewshot", Runs([few_shot()]))
    (axes,) = axes_of(drawing)
    (heights,) = line_through(axes, [1, 5, 10, 100])
    np.testing.assert_allclose(heights, [25, 9, 7, 5.2])
    band = np.asarray(axes.collections[0].get_paths()[0].vertices).round(6).tolist()
    assert all(corner in band for corner in ([1, 24.5], [1, 25.5], [100, 5.7]))
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "5", "10", "100"]
    assert drawing.records == (few_shot().id,)
    assert drawing.name == "fewshot-synthetic-faces"


def test_captions_say_what_the_data_is_and_what_bands_are() -> None:
    caption = one("fewshot", Runs([few_shot()])).caption
    assert "synthetic-faces (procedural data, not photographs; 10 landmarks, 200 test images)" in caption
    assert "one standard deviation over draws" in caption


def test_axes_name_unit_and_direction() -> None:
    (axes,) = axes_of(one("fewshot", Runs([few_shot()])))
    assert axes.get_ylabel() == "NME (% of inter-ocular distance) ↓"
    (axes,) = axes_of(one("equivariance", Runs([equivariance()])))
    assert axes.get_ylabel().endswith("(%) ↑")
    assert "px of a 96-px image" in axes.get_xlabel()


def test_equivariance_shows_chance_once_for_all_methods() -> None:
    runs = Runs([equivariance("lead", 4.0), equivariance("dve", 2.0)])
    (axes,) = axes_of(one("equivariance", runs))
    curves = line_through(axes, list(range(1, 21)))
    assert sorted(round(float(curve[-1]), 1) for curve in curves) == [28.3, 99.3, 100.0]
    assert [text.get_text() for text in axes.texts] == ["dve", "lead", "random pixel"]


def test_scale_shades_the_sizes_that_were_seen() -> None:
    (axes,) = axes_of(one("scale", Runs([scale()])))
    (shade,) = axes.patches
    assert shade.get_extents().transformed(axes.transData.inverted()).x1 == pytest.approx(1.5)
    (heights,) = line_through(axes, [round(1.05 + i / 10, 2) for i in range(10)])
    np.testing.assert_allclose(heights, 5 + 5 * np.arange(10) / 10)


def test_other_data_or_other_options_are_another_figure() -> None:
    runs = Runs(
        [
            few_shot(),
            few_shot(dataset="synthetic-cats", fingerprint="c" * 64),
            few_shot("dve", protocol_options={"points": 7}),
        ]
    )
    drawn = list(FIGURES["fewshot"].draw(runs, ANY))
    assert len({drawing.name for drawing in drawn}) == len({drawing.title for drawing in drawn}) == 3
    assert "fewshot-synthetic-cats" in {drawing.name for drawing in drawn}


def test_of_runs_that_differ_in_the_seed_alone_the_lowest_is_shown_whatever_its_value() -> None:
    seeds = [few_shot("lead", offset=offset, seed=seed) for seed, offset in ((2, 0.0), (1, 9.0), (3, 5.0))]
    drawing = one("fewshot", Runs([*seeds, few_shot("dve", seed=7)]))
    assert set(drawing.records) == {seeds[1].id, few_shot("dve", seed=7).id}
    assert "that of the lowest is shown" in drawing.caption
    assert "lowest" not in one("fewshot", Runs(seeds[:1])).caption


# --- many methods ----------------------------------------------------------------------------------


def test_a_method_looks_the_same_in_every_figure_and_no_two_look_alike() -> None:
    known = looks(METHODS)
    alone = looks(["lead", "dve"])
    assert all(alone[name] == known[name] for name in alone)
    assert len({(look.colour, look.marker) for look in known.values()}) == len(METHODS)
    others = looks([*METHODS, "third", "fourth"])
    assert len({(look.colour, look.marker) for look in others.values()}) == len(METHODS) + 2


def test_baselines_are_grey_and_dashed() -> None:
    for look in looks(BASELINES).values():
        assert look.of_line()["color"] == GREY
        assert look.of_line()["linestyle"] != "-"


def test_of_very_many_methods_the_best_are_shown_and_the_caption_says_so() -> None:
    runs = Runs([few_shot(f"method{i:02}", offset=i) for i in range(30)] + [few_shot("random", 50.0)])
    drawing = one("fewshot", runs)
    assert len(drawing.records) == 11
    (axes,) = axes_of(drawing)
    assert texts(axes) == {f"method{i:02}" for i in range(10)} | {"random"}
    assert "The best 11 of 31 runs are shown." in drawing.caption


def test_namesakes_are_told_apart_by_as_little_as_is_needed() -> None:
    untrained = [
        regression("random", options={"network": name, "options": {}}, weights=str(i) * 64)
        for i, name in enumerate(("lead", "dve"))
    ]
    twice = [regression("lead", weights="a" * 64), regression("lead", weights="b" * 64), regression("dve")]
    assert labels(untrained) == ["random (lead)", "random (dve)"]
    assert labels(twice) == ["lead (weights aaaaaa)", "lead (weights bbbbbb)", "dve"]
    assert labels([regression(), regression(seed=1)]) == ["lead (seed 0)", "lead (seed 1)"]


def test_names_get_longer_where_they_are_not_unique() -> None:
    assert unique([("a", "a1"), ("a", "a2"), ("b", "b1")]) == ["a1", "a2", "b"]
    assert unique([("a",), ("a", "a2")]) == ["a", "a2"]


def test_names_beside_curves_keep_apart_and_move_as_little_as_possible() -> None:
    wanted, gap = np.array([0.5, 0.52, 0.1, 0.99, 0.51]), 0.1
    found = spread(list(wanted), gap)
    order = np.argsort(wanted)
    apart = LinearConstraint(np.diff(np.eye(5), axis=0), lb=gap)

    def moved(places: np.ndarray[Any, Any]) -> float:
        return float(((places - wanted[order]) ** 2).sum())

    best = minimize(moved, wanted[order], constraints=[apart], bounds=[(0, 1)] * 5)
    np.testing.assert_allclose(found[order], best.x, atol=1e-4)


# --- stored values ---------------------------------------------------------------------------------


def test_cumulative_errors_and_failures_are_those_of_the_images(tmp_path: Path) -> None:
    runs = stored(tmp_path, {"lead": 4.0, "dve": 6.0})
    drawing = one("errors", runs)
    (axes,) = axes_of(drawing)
    for method, error in (("lead", 4.0), ("dve", 6.0)):
        made = predictions(error)
        means = np.array(
            [row[seen].mean() for row, seen in zip(made["errors"], made["visible"], strict=True)]
        )
        assert f"{100 * (means > 10).mean():.1f}  {method}" in texts(axes)
        (curve,) = [
            line
            for line in axes.lines
            if len(np.asarray(line.get_xdata())) > 100 and line.get_color() == looks([method])[method].colour
        ]
        at = np.asarray(curve.get_xdata())[::37]
        share = [100 * (means <= x).mean() for x in at]
        np.testing.assert_allclose(np.asarray(curve.get_ydata())[::37], share)
    assert [text.get_text() for text in axes.texts][-1] == "% of images above 10 %"


def test_landmarks_have_circles_of_their_mean_distance_at_their_mean_place(tmp_path: Path) -> None:
    drawing = one("landmarks", stored(tmp_path, {"lead": 4.0}))
    panel = axes_of(drawing)[0]
    made = predictions(4.0)
    seen = made["visible"]
    places = [made["targets"][seen[:, k], k].mean(0) for k in range(3)]
    radii = [made["distances"][seen[:, k], k].mean() for k in range(3)]
    boxes = [path.get_extents() for path in panel.collections[0].get_paths()]
    drawn = sorted((box.x0 + box.width / 2, box.y0 + box.height / 2, box.width / 2) for box in boxes)
    expected = sorted((place[0], place[1], radius) for place, radius in zip(places, radii, strict=True))
    np.testing.assert_allclose(drawn, expected, rtol=1e-3)
    assert panel.get_title() == f"lead  {2 * np.mean(radii):.1f}"


def test_a_run_without_usable_values_is_named_and_does_not_stop_the_others(tmp_path: Path) -> None:
    runs = stored(tmp_path, {"lead": 4.0, "dve": 5.0, "thewlis": 6.0})
    store = RunStore(tmp_path)
    by_method = {each.method.name: each.id for each in runs.records}
    (tmp_path / f"{by_method['dve']}.npz").write_bytes(b"not an archive")
    broken = predictions(4.0) | {"visible": np.ones((7, 2, 2), dtype=np.bool_)}
    store.save(next(each for each in runs.records if each.method.name == "thewlis"), broken)
    drawing = one("errors", Runs.of(store))
    assert drawing.records == (by_method["lead"],)
    assert "no usable predictions are stored: dve, thewlis" in drawing.caption


def test_stored_pictures_are_found_by_record_and_name(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    black = np.zeros((4, 5, 3), dtype=np.uint8)
    store.save(regression(), {}, {"cases": black, "accuracy_curve": black})
    drawing = one("cases", Runs.of(store))
    assert drawing.name == "cases-regression-synthetic-faces-lead"
    assert drawing.figure is None
    assert drawing.picture == tmp_path / f"{regression().id}.cases.png"
    assert "procedural data, not photographs" in drawing.caption


# --- several records a mark ------------------------------------------------------------------------


def test_cost_is_that_of_the_same_network_and_image_size() -> None:
    runs = Runs([regression("lead", 8.0), regression("dve", 9.0), *costs("lead", 0.5), *costs("dve", 2.0)])
    drawing = one("cost", runs)
    panels = {axes.get_xlabel().partition("\n")[0]: axes for axes in axes_of(drawing)}
    assert list(panels) == ["features of an image", "activation proxy", "parameters"]
    assert marks(panels["activation proxy"]) == {(50.0, 8.0), (200.0, 9.0)}
    assert set(drawing.records) == {regression("lead", 8.0).id, regression("dve", 9.0).id}


def test_seconds_are_compared_on_one_machine_only() -> None:
    def on(name: str, seconds: float) -> dict[str, Any]:
        return {"device": {"type": "cpu", "name": name}, "threads": 2, "seconds": {"total": seconds}}

    counted = [*costs("lead", 0.5), *costs("dve", 2.0)]
    same = [regression("lead", provenance=on("EPYC", 3)), regression("dve", provenance=on("EPYC", 5))]
    other = [same[0], regression("dve", provenance=on("Xeon", 5))]
    alike, apart = (one("cost", Runs([*pair, *counted])) for pair in (same, other))
    assert (len(axes_of(alike)), len(axes_of(apart))) == (4, 3)
    assert "the whole run on EPYC, 2 threads" in alike.caption


def match(method: str, printed: str, value: float, barriers: tuple[str, ...] = ()) -> Any:
    ours = Ours(value, value - 0.1, value + 0.1)
    return SimpleNamespace(
        record="0" * 16,
        method=method,
        metric="nme_interocular",
        unit="%",
        table="made:table1",
        ours=ours,
        printed=printed,
        printed_std="",
        verdict=judge(printed, "", ours, barriers),
    )


def test_what_is_not_comparable_has_axes_of_its_own() -> None:
    matches = [
        match("lead", "3.27", 3.3),
        match("dve", "4.0", 6.0),
        match("lead", "5.0", 9.0, ("other data",)),
    ]
    (drawing,) = drawings(matches)
    titles = [axes.get_title() for axes in axes_of(drawing)]
    assert titles == ["reproduced: 1", "off: 1", "not comparable: 1"]
    for axes, place in zip(axes_of(drawing), ((3.27, 3.3), (4.0, 6.0), (5.0, 9.0)), strict=True):
        assert marks(axes) == {place}


# --- selection and hostile records -----------------------------------------------------------------


def test_a_selection_chooses_runs_and_metrics() -> None:
    both = record(
        *few_shot().metrics,
        *(metric(50.0, "pck_cl", condition={"annotations": n}, direction="higher") for n in (1, 10)),
        protocol="fewshot",
    )
    runs = Runs([both, few_shot("dve")])
    assert one("fewshot", runs, Selection(methods=("dve",))).records == (few_shot("dve").id,)
    (axes,) = axes_of(one("fewshot", runs, Selection(metrics=("pck_cl",))))
    assert len(line_through(axes, [1, 10])) == 1
    with pytest.raises(BenchError, match="Did you mean 'lead'"):
        list(draw_all(runs, Selection(methods=("laed",))))


def test_hostile_records_are_drawn_as_text_or_left_out() -> None:
    hostile = "<script>$x^{$</script>" + "n" * 500
    runs = Runs(
        [
            few_shot(hostile),
            few_shot("dve"),
            record(metric(1e300, condition={"annotations": 5}), method="huge", protocol="fewshot"),
            record(metric(1.0, condition={"annotations": "five"}), method="words", protocol="fewshot"),
            record(metric(1.0, condition={"zoom": "../../x"}), protocol="scale"),
            record(reason="it broke", method="broken", protocol="fewshot"),
        ]
    )
    (drawing,) = list(draw_all(runs, ANY))
    (axes,) = axes_of(drawing)
    assert {text[:10] for text in texts(axes)} == {"<script>$x", "dve"}
    assert max(map(len, texts(axes))) <= 32
    assert re.fullmatch(r"[0-9a-z-]+", drawing.name)


def test_nothing_is_drawn_of_no_records() -> None:
    assert list(draw_all(Runs([]), ANY)) == []
