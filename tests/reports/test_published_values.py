"""Which printed numbers a record answers, and what is said of the two: against hand-made records of known cells."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bench.method import Method
from bench.options import parse_options
from bench.record import DatasetPart, MethodPart, MetricPart, ProtocolPart, RunRecord, content_hash
from bench.registry import load
from bench.report import Runs
from bench.tables import all_tables, citation, find_table
from reports.published_values import PublishedMatch, published_matches
from tests.records import metric, record

LEAD: Method = load("methods", "lead")()
FEWSHOT = load("protocols", "fewshot")


def paper_recipe(**changes: Any) -> str:
    recipe = LEAD.Recipe(**{**LEAD.presets["paper"].recipe, **changes})
    return content_hash(recipe.model_dump(mode="json"))


def origin(**changes: Any) -> dict[str, Any]:
    """What the records of LEAD's compact features tell of weights that were trained as the paper's were."""
    first = {"preset": "paper", "dataset": "celeba", "recipe": paper_recipe()}
    return {
        "preset": "paper",
        "dataset": "celeba",
        "recipe": paper_recipe(stage1_epochs=0),
        "initial": {"sha256": "0" * 64, "label": "stage 1", **first},
        **changes,
    }


def lead_on_aflw(value: float = 1.0, **changes: Any) -> RunRecord:
    """LEAD's 64-d features, ten annotated images of AFLW_M: a cell of its table 5."""
    options = LEAD.Options(**{**LEAD.presets["paper"].options, "features": "compact", "dim": 64})
    protocol = FEWSHOT.Options(**FEWSHOT.presets["paper"], counts=(1, 5, 10, 20, 50, 100))
    fields: dict[str, Any] = {
        "weights": origin(),
        "protocol_options": protocol.model_dump(mode="json"),
        "preprocessing": {"image_size": 96, "margin": 20, "points": "official"},
        "tier": "published",
        "dataset": "aflw-m",
        "version": FEWSHOT.version,
        "dtype": "float32",
        **changes,
    }
    return RunRecord(
        status="ok",
        method=MethodPart(
            name="lead",
            options=LEAD.describe(options),
            weights_sha256="a" * 64,
            weights_label="paper preset",
            feature_dim=64,
            feature_dtype=fields["dtype"],
        ),
        protocol=ProtocolPart(
            name="fewshot", version=fields["version"], preset="paper", options=fields["protocol_options"]
        ),
        dataset=DatasetPart(
            name=fields["dataset"],
            tier=fields["tier"],
            options={},
            preprocessing=fields["preprocessing"],
            splits={"train": "train", "test": "test"},
            fingerprints={},
            counts={},
            landmarks=5,
        ),
        seed=0,
        metrics=[few(value, 10)],
        provenance={} if fields["weights"] is None else {"weights": fields["weights"]},
    )


def few(value: float, count: int) -> MetricPart:
    return metric(value, condition={"annotations": count})


def the_cell(*records: RunRecord, table: str = "lead2022:table5") -> PublishedMatch:
    (found,) = [match for match in published_matches(Runs(records)) if match.table == table]
    return found


def printed_number() -> tuple[str, str]:
    (cell,) = [
        cell
        for cell in find_table("lead2022:table5").cells
        if cell.run
        and cell.run.weights
        and cell.run.weights.name == "lead-64"
        and cell.run.condition == {"annotations": 10}
    ]
    return cell.value, cell.std


def test_a_record_of_the_papers_own_run_is_compared() -> None:
    value, std = printed_number()
    match = the_cell(lead_on_aflw(float(value)))
    assert (match.printed, match.printed_std, match.ours.value) == (value, std, float(value))
    assert (value, std) == ("11.50", "0.34")  # the zero is printed too
    assert match.verdict.kind == "reproduced"
    assert (match.metric, match.condition, match.direction) == ("nme_interocular", "annotations=10", "lower")
    assert match.citation == "Karmali et al., WACV 2022, Table 5"
    assert the_cell(lead_on_aflw(3 * float(value))).verdict.kind == "off"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": FEWSHOT.version + 1}, "protocol version"),
        ({"weights": None}, "does not say how its weights were trained"),
        ({"weights": origin(preset="small")}, "weights of preset 'small'"),
        ({"weights": origin(dataset="synthetic-faces")}, "trained on synthetic-faces instead of celeba"),
        ({"weights": origin(recipe=paper_recipe(stage2_objective="equivariance"))}, "another recipe"),
        ({"weights": origin(initial=None)}, "first stage: the record does not say"),
        ({"weights": origin(share=0.5)}, "50% of the images instead of 100%"),
        ({"preprocessing": {"image_size": 96, "margin": 0, "points": "exact"}}, "preprocessing margin 0"),
        ({"dtype": "float16"}, "features in float16"),
        ({"protocol_options": {}}, "protocol option"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_differs_from_the_papers_run_is_named(changes: dict[str, Any], reason: str) -> None:
    value = float(printed_number()[0])
    verdict = the_cell(lead_on_aflw(value, **changes)).verdict
    assert verdict.kind == "not comparable"
    assert any(reason in given for given in verdict.reasons)


@pytest.mark.parametrize(
    "changes",
    [{"tier": "own"}, {"tier": "procedural", "dataset": "synthetic-faces"}, {"dataset": "mafl"}],
    ids=str,
)
def test_other_data_answers_nothing_of_the_table(changes: dict[str, Any]) -> None:
    found = published_matches(Runs([lead_on_aflw(1.0, **changes)]))
    assert [match for match in found if match.table == "lead2022:table5"] == []


def test_another_recipe_of_stage_one_is_another_row() -> None:
    """Both rows of the table on objectives have one network; their first stages tell them apart."""
    first = {**origin()["initial"], "recipe": paper_recipe(stage1_objective="moco")}
    found = published_matches(Runs([lead_on_aflw(1.0, weights=origin(initial=first))]))
    verdicts = {match.verdict.reasons for match in found if match.table == "lead2022:table5"}
    assert verdicts == {("first stage: weights of another recipe than the table's",)}


def test_released_weights_are_known_by_their_file() -> None:
    released = {"format": "lead", "files": {"something.pth": "0" * 64}}
    (reason,) = the_cell(lead_on_aflw(weights=released)).verdict.reasons
    assert reason == "released weights something.pth, which are not known to be the table's"


def costs(value: float, peak_device: str) -> RunRecord:
    options = load("methods", "contrast").Options(backbone="resnet18", width=64, features="hypercolumn")
    protocol = load("protocols", "memory")
    settings = protocol.Options(peak_device=peak_device).model_dump(mode="json")
    found = record(
        metric(value, "params_m"),
        method="contrast",
        options=load("methods", "contrast")().describe(options),
        protocol="memory",
        version=protocol.version,
        protocol_options=settings,
    )
    return found.model_copy(update={"dataset": None})


@pytest.mark.parametrize("peak_device", ["none", "cpu"])
def test_costs_match_whatever_else_was_measured(peak_device: str) -> None:
    match = the_cell(costs(11.242176, peak_device), table="cheng2021:table2")
    assert (match.printed, match.row, match.verdict.kind) == ("11.24", "CL, ResNet18", "reproduced")
    assert the_cell(costs(12.0, peak_device), table="cheng2021:table2").verdict.kind == "off"


def test_every_cell_on_costs_is_found_by_the_paper_network() -> None:
    """What is left out before torch is loaded answers nothing: none of the papers' own networks is."""
    runs = [cell.run for table in all_tables() for cell in table.cells if cell.value and cell.run is not None]
    on_costs = [run for run in runs if run.dataset is None]
    assert len(on_costs) >= 20
    for run in on_costs:
        method: Method = load("methods", run.method)()
        options = parse_options(method.Options, run.method_options, run.method)
        protocol = load("protocols", run.protocol)
        found = record(
            metric(1.0, run.metric, condition=dict(run.condition)),
            method=run.method,
            options=method.describe(options),
            protocol=run.protocol,
            version=protocol.version,
            protocol_options=protocol.Options().model_dump(mode="json"),
        ).model_copy(update={"dataset": None})
        assert published_matches(Runs([found])), run


def test_records_that_no_table_asks_for_need_no_torch() -> None:
    program = """if True:
        import sys
        from bench.report import Runs
        from reports.published_values import published_matches
        from tests.records import metric, record
        costs = record(metric(1.0, "gmacs"), method="lead", options={"backbone": "resnet18"}, protocol="flops")
        assert published_matches(Runs([record(metric(1.0)), costs.model_copy(update={"dataset": None})])) == []
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_table_under_two_names_is_there_once() -> None:
    """LEAD's table 7 is table 1 of its supplement, and so on."""
    found = {match.table for match in published_matches(Runs([lead_on_aflw()]))}
    assert not any(name.startswith("lead2022:supp") for name in found)


def test_failed_records_answer_nothing() -> None:
    failed = lead_on_aflw().model_copy(update={"status": "failed", "reason": "out of memory", "metrics": []})
    assert published_matches(Runs([failed])) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cheng2021:table5", "Cheng et al., ICCV 2021, supplement, Table 5"),
        ("lead2022:supp-table1", "Karmali et al., WACV 2022, supplement, Table 1"),
        ("thewlis2017:sec4.3", "Thewlis et al., ICCV 2017, Section 4.3"),
        ("rahaman2021:fig6", "Rahaman et al., 2021, Figure 6"),
        ("thewlis2019:matching-tuned", "Thewlis et al., ICCV 2019, released log, matching tuned"),
    ],
)
def test_citations(name: str, text: str) -> None:
    assert citation(find_table(name)) == text
