"""Every recipe of a published table names things that exist, and the numbers are those of the papers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import registry
from bench.cli import app
from bench.errors import BenchError
from bench.loading import named_preprocessing
from bench.method import Method
from bench.opening import resolve_options
from bench.protocol import Protocol
from bench.tables import Cell, CellRun, all_tables, find_table
from reports.tables.rows import read_rows
from tests.goldens import SHARED

TABLES = {table.name: table for table in all_tables()}
CELLS = [(name, cell) for name, table in TABLES.items() for cell in table.cells]
RUNS = [cell.run for _, cell in CELLS if cell.run is not None]


@cache
def method_called(name: str) -> Method:
    found: Method = registry.load("methods", name)()
    return found


@cache
def protocol_called(name: str) -> Protocol:
    found: Protocol = registry.load("protocols", name)()
    return found


def cell(table: str, row: str, column: str = "") -> Cell:
    found = [one for one in TABLES[table].cells if one.row == row and column in one.column]
    assert len(found) == 1, [one.column for one in found]
    return found[0]


def run_of(table: str, row: str, column: str = "") -> CellRun:
    run = cell(table, row, column).run
    assert run is not None
    return run


# --- all recipes


def test_every_method_protocol_and_data_set_is_registered() -> None:
    assert {run.method for run in RUNS} <= set(registry.names("methods"))
    assert {run.protocol for run in RUNS} <= set(registry.names("protocols"))
    assert {run.dataset for run in RUNS} - {None} <= set(registry.names("datasets"))


def test_every_metric_is_declared_by_its_protocol() -> None:
    wrong = {
        (run.protocol, run.metric)
        for run in RUNS
        if run.metric not in {spec.name for spec in protocol_called(run.protocol).metrics}
    }
    assert wrong == set()


def test_the_options_of_every_run_are_valid() -> None:
    for run in set(map(_options_of_run, RUNS)):
        method, method_options, protocol, presets, protocol_options, preprocessing = run
        resolve_options(method_called(method).Options, method_options, method)
        known = protocol_called(protocol)
        resolve_options(known.Options, protocol_options, protocol, base=known.presets[presets])
        named_preprocessing(preprocessing)


def _options_of_run(run: CellRun) -> tuple[Any, ...]:
    return (
        run.method,
        run.method_options,
        run.protocol,
        run.paper_preset,
        (*run.protocol_options, *run.paper_options),
        run.preprocessing,
    )


def test_the_options_of_every_training_are_valid() -> None:
    trainings = {training for run in RUNS if run.weights for training in run.weights.chain}
    for training in trainings:
        method = method_called(training.method)
        assert training.dataset in registry.names("datasets")
        assert training.variant is None or training.variant in method.variants, training
        variant = method.variants.get(training.variant or "")
        resolve_options(
            method.Options, training.method_options, training.name, base=variant.options if variant else {}
        )
        resolve_options(
            method.Recipe, training.recipe_options, training.name, base=variant.recipe if variant else {}
        )


def test_a_name_of_weights_stands_for_one_training() -> None:
    trainings = {training for run in RUNS if run.weights for training in run.weights.chain}
    assert [name for name, count in Counter(one.name for one in trainings).items() if count > 1] == []


def test_a_network_that_is_not_built_from_weights_is_given_in_full() -> None:
    """Weights may be those of a narrow network, whose own options then hold."""
    for run in RUNS:
        if run.weights is not None:
            assert not any(
                option.startswith(("backbone=", "width=", "network=")) for option in run.method_options
            )


def test_rows_and_columns_tell_the_cells_of_a_table_apart() -> None:
    for name, table in TABLES.items():
        labels = Counter((one.row, one.column) for one in table.cells)
        assert [label for label, count in labels.items() if count > 1] == [], name


def test_a_cell_without_a_run_says_why() -> None:
    assert all(one.barriers for _, one in CELLS if one.run is None)


def test_a_quoted_number_is_never_comparable() -> None:
    quoted = [one for name, one in CELLS if name == "lead2022:table2" and one.method != "LEAD"]
    assert len(quoted) == 35
    assert all(one.barriers for one in quoted)


# --- the numbers


def test_the_numbers_are_those_of_the_papers() -> None:
    path = SHARED / "spec" / "published_results.csv"
    if not path.is_file():
        pytest.skip("needs the published results, which are not beside the checkout")
    with path.open(newline="") as stream:
        expected = Counter((line["method"], line["value"], line["std"]) for line in csv.DictReader(stream))
    papers = ("thewlis2017", "cheng2021", "rahaman2021", "lead2022")
    found = Counter((row.method, row.value, row.std) for paper in papers for row in read_rows(paper))
    assert expected - found == Counter()
    # What is there besides: values that are plotted only, and three that figure 2 plots and table 4 prints.
    more = found - expected
    assert sum(count for (_, value, _), count in more.items() if value) == 3


def test_the_numbers_of_dve_are_those_of_its_log() -> None:
    path = SHARED / "spec" / "dve_results.csv"
    if not path.is_file():
        pytest.skip("needs the results of DVE, which are not beside the checkout")
    with path.open(newline="") as stream:
        logged = [float(line["value"]) for line in csv.DictReader(stream)]
    assert sorted(logged) == sorted(float(row.value) for row in read_rows("thewlis2019"))


@pytest.mark.parametrize(
    ("table", "count"),
    [
        ("cheng2021:table5", 108),
        ("lead2022:table5", 54),
        ("rahaman2021:table1", 35),
        ("thewlis2017:table5", 12),
    ],
)
def test_tables_have_all_their_cells(table: str, count: int) -> None:
    assert len(TABLES[table].cells) == count


def test_the_words_of_two_printed_cells() -> None:
    one = cell("lead2022:table5", "LEAD, ResNet50, 3840-d", "n = 20")
    assert (one.value, one.std) == ("10.21", "0.44")
    other = cell("cheng2021:table5", "CL, ResNet50, 128-d, on CelebA in-the-wild", "300W")
    assert (other.value, other.std) == ("5.37", "")


# --- single recipes


def test_the_epochs_of_contrast_landmarks_differ_by_data_set_and_features() -> None:
    epochs = {
        dataset: run_of("cheng2021:table5", "CL, ResNet50, 3840-d, on CelebA", dataset).paper_options
        for dataset in ("MAFL", "AFLW_M", "AFLW_R", "300W")
    }
    assert epochs == {
        "MAFL": ("epochs=120",),
        "AFLW_M": ("epochs=45",),
        "AFLW_R": ("epochs=45",),
        "300W": ("epochs=80",),
    }
    assert run_of("cheng2021:table5", "CL, ResNet50, 64-d, on CelebA", "300W").paper_options == (
        "epochs=150",
    )


def test_the_regressor_of_dve_is_trained_by_its_own_schedule() -> None:
    regressions = [
        one for name, one in CELLS if name.startswith("thewlis2019:regression") and one.run is not None
    ]
    assert len(regressions) == 63
    for one in regressions:
        assert one.barriers == ()
        assert one.run is not None
        assert "divide_at=[101,251]" in one.run.paper_options
    copied = run_of("cheng2021:table5", "DVE, Hourglass, 64-d, on CelebA", "MAFL, n = 19000, proj no")
    assert "divide_at=[101,251]" in copied.paper_options
    # Another paper measured it on images in the wild.
    assert run_of("lead2022:table8", "DVE, Hourglass, 64-d").paper_options == ("epochs=150",)


def test_thewlis_regresses_from_warped_views() -> None:
    runs = [
        one.run
        for name, one in CELLS
        if name.startswith("thewlis2017:") and one.run is not None and one.run.protocol == "discovered"
    ]
    assert runs
    assert all(run.paper_options == ("solver=adam",) for run in runs)


def test_birds_are_read_after_the_epoch_that_is_best_on_validation_images() -> None:
    birds = [one for name, one in CELLS if name in ("cheng2021:table8", "lead2022:table9")]
    runs = [one.run for one in birds if one.run is not None and one.run.protocol == "fewshot"]
    assert len(runs) == 38
    for run in runs:
        options = resolve_options(
            protocol_called("fewshot").Options,
            (*run.protocol_options, *run.paper_options),
            "fewshot",
            base=protocol_called("fewshot").presets[run.paper_preset],
        )
        assert protocol_called("fewshot").roles(options) == ("train", "validation", "test")
    of_the_paper = [one for one in birds if one.method == "CL" and one.row != "CL"]
    assert len(of_the_paper) == 30
    assert all(one.barriers == () for one in of_the_paper)


def test_the_printed_3840_of_narrow_networks_is_their_hypercolumn() -> None:
    run = run_of("cheng2021:table5", "CL, ResNet18, 3840-d, on CelebA", "MAFL")
    assert run.weights is not None
    assert (run.weights.name, run.method_options) == ("cl-resnet18", ("features=hypercolumn",))


def test_a_second_stage_starts_from_the_first() -> None:
    weights = run_of("lead2022:table4", "LEAD, ResNet50+FPN, 128-d", "MAFL").weights
    assert weights is not None
    assert [one.name for one in weights.chain] == ["lead-stage1", "lead-128"]
    assert "stage1_epochs=0" in weights.recipe_options


def test_shares_of_the_unlabelled_images_are_trainings_of_their_own() -> None:
    shares = {
        one.run.weights.share for one in TABLES["cheng2021:table9"].cells if one.run and one.run.weights
    }
    assert shares == {0.05, 0.1, 0.25, 0.5, 1.0}
    run = run_of("cheng2021:table9", "CL, ResNet50, 3840-d, on CelebA (5%)")
    assert run.weights is not None
    assert "--share 0.05" in run.weights.command()


def test_wrists_are_averaged() -> None:
    run = run_of("rahaman2021:table1", "Rahaman21, rahaman_hourglass_T(F), 64-d, on BBCPose train", "wrist")
    assert run.condition == {"landmark": "left_wrist"}
    assert run.also == ({"landmark": "right_wrist"},)


def test_constant_landmarks_need_no_weights() -> None:
    run = run_of("thewlis2017:sec4.3", "Mean landmark location")
    assert (run.method, run.weights, run.dataset) == ("mean-shape", None, "aflw-m")


def test_an_unknown_table_is_answered_with_near_names() -> None:
    with pytest.raises(BenchError, match="no table is called 'lead22:table5'") as error:
        find_table("lead22:table5")
    assert "lead2022:table5" in (error.value.hint or "")
    with pytest.raises(BenchError, match="has no table 'lead2022:table11'"):
        find_table("lead2022:table11")


# --- tables that need neither data nor weights


def _reproduced(table: str, tmp_path: Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["reproduce", table, "--runs", str(tmp_path), "--json", "-q"])
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_parameters_and_memory_are_reproduced_to_the_printed_digit(tmp_path: Path) -> None:
    content = _reproduced("cheng2021:table2", tmp_path)
    assert {one["verdict"] for one in content["cells"]} == {"reproduced"}
    assert [f"{one['ours']['value']:.2f}" for one in content["cells"]] == [
        *("12.61", "48.10", "491.85"),
        *("11.24", "42.89", "11.54"),
        *("6.03", "23.02", "28.15"),
        *("23.77", "90.68", "52.65"),
        *("874.41", "93.58"),
    ]


def test_the_cost_of_the_regressor_finds_two_misprints(tmp_path: Path) -> None:
    content = _reproduced("lead2022:table10", tmp_path)
    found = [(one["published"], one["verdict"], round(one["ours"]["value"], 4)) for one in content["cells"]]
    assert found == [
        ("2.21", "reproduced", 2.2118),
        ("0.16", "off", 0.1475),
        ("0.08", "off", 0.0737),
        ("0.04", "reproduced", 0.0369),
    ]
