"""A table of a made-up paper: what is missing is said, the rest is run once and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import table_plan
from bench.cli import app
from bench.errors import BenchError
from bench.opening import DatasetRequest
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.reproduction import Outcome, reproduce
from bench.store import RunStore
from bench.table_plan import Plan, ReproductionRequest, plan
from bench.tables import Cell, CellRun, Table, Training
from tests.bench.world import TINY_NETWORK, TINY_RECIPE, UNTRAINED_TINY_NETWORK, write_faces

QUIET = Progress.silent()

STAGE_ONE = Training("first", "lead", "celeba", recipe_options=("temperature=0.1",))
TUNED = Training("tuned", "lead", "aflw-m", initial=STAGE_ONE, share=0.5, official="tuned.pth of its authors")

MATCHING = CellRun(
    "random",
    "matching",
    "matching_error_px70",
    condition={"pairs": "same"},
    dataset="mafl",
    preprocessing="square-96",
    image_size=32,
    paper_preset="contrast",
    method_options=tuple(UNTRAINED_TINY_NETWORK),
    protocol_options=("pairs=4",),
)
WITH_WEIGHTS = replace(MATCHING, method="lead", method_options=(), weights=TUNED)

CELLS = (
    Cell("Random", "same", "Random", "1.07", run=MATCHING),
    Cell("Random", "different", "Random", "10.03", run=replace(MATCHING, condition={"pairs": "different"})),
    Cell("Trained", "same", "Ours", "0.48", run=WITH_WEIGHTS),
    Cell("Theirs", "same", "Theirs", "0.5", barriers=("not a method of ours",)),
    Cell("Ours", "unknown", "Ours", "1", run=replace(MATCHING, protocol="not-written-yet")),
)


@pytest.fixture(autouse=True)
def made_up_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("made2026:table1", "Made up", CELLS, ("error",), ("MAFL",))
    monkeypatch.setattr(table_plan, "find_table", lambda name: replace(table, name=name))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def weights(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = PretrainRequest(
        method="lead",
        dataset=DatasetRequest(f"coco:{faces}"),
        method_options=TINY_NETWORK,
        recipe_options=TINY_RECIPE,
        output=tmp_path_factory.mktemp("weights"),
        precision="float32",
    )
    return pretrain(request, QUIET)


def planned(*datasets: str, **changes: Any) -> Plan:
    return plan(asked(*datasets, **changes), QUIET)


def asked(*datasets: str, **changes: Any) -> ReproductionRequest:
    return ReproductionRequest("made2026:table1", tuple(map(DatasetRequest, datasets)), **changes)


def carried_out(request: ReproductionRequest) -> tuple[Outcome, ...]:
    return reproduce(plan(request, QUIET), request, QUIET)


def names(plan: Plan) -> dict[tuple[str, str], int]:
    return {(need.kind, need.name): count for need, count in plan.missing.items()}


# --- what is missing


def test_what_is_missing_is_said_before_anything_runs() -> None:
    found = planned()
    assert names(found) == {
        ("data", "mafl"): 3,
        ("weights", "tuned"): 1,
        ("protocol", "not-written-yet"): 1,
    }
    assert found.runs == 0
    advice = {need.name: "\n".join(need.advice) for need in found.missing}
    assert "--dataset mafl:FOLDER" in advice["mafl"]
    assert "had from:" in advice["mafl"]
    assert "bench data verify mafl" in advice["mafl"]


def test_missing_weights_come_with_their_file_and_all_commands_that_train_them() -> None:
    advice = next(need.advice for need in planned().missing if need.name == "tuned")
    assert advice == (
        "give them: --checkpoint tuned=PATH",
        "released: tuned.pth of its authors",
        "or train them: bench pretrain -m lead --preset paper -R temperature=0.1 -d celeba:FOLDER "
        "-o checkpoints/first",
        "then: bench pretrain -m lead --preset paper --init checkpoints/first/weights.safetensors --share 0.5 "
        "-d aflw-m:FOLDER -o checkpoints/tuned",
    )


def test_a_data_set_that_lacks_files_is_missing_with_its_problems(tmp_path: Path) -> None:
    need = next(need for need in planned(f"mafl:{tmp_path}").missing if need.kind == "data")
    assert any("is missing" in line for line in need.advice)


def test_only_some_methods_are_asked_for() -> None:
    assert {one.cell.row for one in planned(only=("theirs",)).cells} == {"Theirs"}
    assert {one.cell.row for one in planned(only=("lead",)).cells} == {"Trained"}  # as bench calls it
    with pytest.raises(BenchError, match="no method called 'ledd'") as error:
        planned(only=("ledd",))
    assert "'lead'" in (error.value.hint or "")


def test_only_one_data_set_can_stand_in(faces: Path) -> None:
    with pytest.raises(BenchError, match="are both none of the table's data sets"):
        planned("synthetic-faces", f"coco:{faces}")


def test_weights_that_the_table_does_not_need_are_refused(weights: Path) -> None:
    with pytest.raises(BenchError, match="needs no weights called 'tunes'") as error:
        planned(checkpoints={"tunes": weights})
    assert "tuned" in (error.value.hint or "")
    with pytest.raises(BenchError, match="no weights at"):
        planned(checkpoints={"tuned": weights.parent / "nothing"})


def test_an_unknown_preset_is_refused(faces: Path) -> None:
    with pytest.raises(BenchError, match="has no preset 'fast'"):
        planned(f"coco:{faces}", preset="fast")


# --- what is trained first


def test_own_data_does_not_start_a_training(faces: Path) -> None:
    assert planned(f"coco:{faces}").trainings == ()


def test_a_training_is_preceded_by_those_that_it_starts_from(faces: Path, weights: Path) -> None:
    found = planned(f"coco:{faces}", pretraining="tiny")
    assert [training.name for training in found.trainings] == ["first", "tuned"]
    shorter = planned(f"coco:{faces}", pretraining="tiny", checkpoints={"first": weights})
    assert [training.name for training in shorter.trainings] == ["tuned"]
    assert planned(f"coco:{faces}", pretraining="tiny", checkpoints={"tuned": weights}).trainings == ()


def test_on_procedural_data_missing_weights_are_trained() -> None:
    found = planned("synthetic-faces")
    assert [training.name for training in found.trainings] == ["first", "tuned"]
    trained = next(one for one in found.cells if one.trainings)
    assert all(one.images.spec == "synthetic-faces" for one in trained.trainings)
    assert "weights of a short training" in trained.barriers


def test_the_images_of_a_training_are_missing_where_they_are_not_given(tmp_path: Path) -> None:
    found = names(planned(pretraining="paper"))
    assert {("data", "celeba"), ("data", "aflw-m"), ("data", "mafl")} <= found.keys()


# --- runs and verdicts


def test_other_data_is_run_once_and_never_compared(faces: Path, tmp_path: Path) -> None:
    request = asked(f"coco:{faces}", runs=tmp_path / "runs")
    same, different, trained, theirs, unknown = carried_out(request)
    assert same.ours is not None
    assert different.ours is not None
    assert same.record == different.record
    assert same.verdict.kind == different.verdict.kind == "not comparable"
    assert same.verdict.reasons == (f"other data: coco:{faces} instead of mafl",)
    assert same.verdict.difference == pytest.approx(same.ours.value - 1.07)
    assert (trained.verdict.kind, trained.verdict.reasons) == ("missing", ("weights tuned",))
    assert (theirs.verdict.kind, theirs.verdict.reasons) == ("not comparable", ("not a method of ours",))
    assert unknown.verdict.reasons == ("protocol not-written-yet",)
    records, _ = RunStore(tmp_path / "runs").load_all()
    assert len(records) == 1
    assert records[0].protocol.options["pairing"] == "consecutive"  # the cell's preset
    assert records[0].protocol.options["pairs"] == 4


def test_existing_records_are_used_again(faces: Path, tmp_path: Path) -> None:
    request = asked(f"coco:{faces}", runs=tmp_path / "runs", only=("random",))
    carried_out(request)
    file = next((tmp_path / "runs").glob("*.json"))
    written = file.stat().st_mtime_ns
    carried_out(request)
    assert file.stat().st_mtime_ns == written


def test_weights_of_another_training_are_a_barrier(faces: Path, weights: Path, tmp_path: Path) -> None:
    request = asked(f"coco:{faces}", runs=tmp_path / "runs", only=("lead",), checkpoints={"tuned": weights})
    (trained,) = carried_out(request)
    assert trained.ours is not None
    assert trained.verdict.reasons == (
        f"other data: coco:{faces} instead of mafl",
        "weights of preset 'small'",
        f"weights trained on coco:{faces.name} instead of aflw-m",
        "weights of 100% of the images instead of 50%",
    )


def _cells(monkeypatch: pytest.MonkeyPatch, *cells: Cell) -> None:
    table = Table("made2026:table1", "Made up", cells)
    monkeypatch.setattr(table_plan, "find_table", lambda _: table)


def test_a_value_that_the_run_does_not_report_is_not_made_up(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cells(monkeypatch, Cell("a", "b", "Random", "1", run=replace(MATCHING, condition={"pairs": "thirds"})))
    (outcome,) = carried_out(asked(f"coco:{faces}", runs=tmp_path / "runs"))
    assert outcome.ours is None
    assert outcome.verdict.reasons[-1] == "the run reports no matching_error_px70 for pairs thirds"


def test_a_cell_may_be_the_mean_of_two_values(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = replace(MATCHING, also=({"pairs": "different"},), scale=2.0)
    _cells(monkeypatch, CELLS[0], CELLS[1], Cell("both", "mean", "Random", "1", run=both))
    outcomes = carried_out(asked(f"coco:{faces}", runs=tmp_path / "runs"))
    same, different, mean = (one.ours.value for one in outcomes if one.ours is not None)
    assert mean == pytest.approx(same + different)


def test_a_run_that_fails_leaves_the_others_alone(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(MATCHING, protocol_options=("pairs=0",))
    _cells(monkeypatch, Cell("broken", "", "Random", "1", run=broken), CELLS[0])
    failed, fine = carried_out(asked(f"coco:{faces}", runs=tmp_path / "runs"))
    assert failed.verdict.kind == "failed"
    assert "pairs" in failed.verdict.reasons[0]
    assert fine.ours is not None


# --- the command


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["reproduce", "made2026:table1", *arguments], env={"COLUMNS": "100"})


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_the_command_prints_ours_beside_the_papers(faces: Path, tmp_path: Path) -> None:
    done = invoke(
        "-d", f"coco:{faces}", "--runs", str(tmp_path), "-q", "--only", "random", "--only", "theirs"
    )
    assert done.exit_code == 0, done.output
    assert "10.03" in done.stdout
    assert "not comparable (1)" in done.stdout
    assert f"1 other data: coco:{faces} instead of mafl" in flat(done.stdout)
    assert "2 not a method of ours" in flat(done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 100 or str(faces) in done.stdout


def test_a_dry_run_says_what_is_missing_and_runs_nothing(tmp_path: Path) -> None:
    done = invoke("--dry-run", "--runs", str(tmp_path / "runs"))
    assert done.exit_code == 0, done.output
    assert "missing data" in done.stdout
    assert "--checkpoint tuned=PATH" in done.stdout
    assert "0 runs" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_the_json_is_for_programs(faces: Path, tmp_path: Path) -> None:
    done = invoke("-d", f"coco:{faces}", "--runs", str(tmp_path), "-q", "--json")
    content = json.loads(done.stdout)
    assert [need["name"] for need in content["missing"]] == ["tuned", "not-written-yet"]
    cells = {(one["row"], one["column"]): one for one in content["cells"]}
    assert cells["Random", "same"]["published"] == "1.07"
    assert cells["Random", "same"]["ours"]["value"] > 0
    assert cells["Random", "same"]["record"] is not None
    assert cells["Trained", "same"]["verdict"] == "missing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "tuned"], "not of the form NAME=PATH"),
        (["--checkpoint", "a=b", "--checkpoint", "a=c"], "given twice"),
        (["-D", "landmarks=5"], "no --dataset that they are of"),
    ],
)
def test_mistakes_on_the_command_line_are_named(arguments: Sequence[str], message: str) -> None:
    done = invoke(*arguments)
    assert isinstance(done.exception, BenchError)
    assert message in done.exception.message
