"""Texts from the command line become options, or a message that a person understands."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.errors import BenchError
from bench.options import build_options, parse_dataset, parse_options, summarise_options


class Example(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    landmarks: int | Literal["all"] = Field("all", description="how many landmarks")
    rate: float = Field(0.1, gt=0)
    flip: bool = False
    train: str = "train"
    pair: tuple[int | str, int | str] | None = None
    layers: list[int] = Field(default_factory=lambda: [2, 3])


class Needy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int
    high: int = 3

    @model_validator(mode="after")
    def _ordered(self) -> Needy:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("synthetic-faces", ("synthetic-faces", None)),
        ("coco:my/faces", ("coco", "my/faces")),
        (r"coco:C:\my faces", ("coco", r"C:\my faces")),
        ("coco:a:b:c", ("coco", "a:b:c")),
        ("  coco: faces ", ("coco", "faces")),
    ],
)
def test_dataset_is_split_at_the_first_colon(text: str, expected: tuple[str, str | None]) -> None:
    assert parse_dataset(text) == expected


@pytest.mark.parametrize("text", ["", ":", ":folder", "coco:", "coco:  "])
def test_dataset_without_name_or_location_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="NAME:LOCATION"):
        parse_dataset(text)


def test_values_are_json_where_they_are_json_and_text_elsewhere() -> None:
    items = ["landmarks=5", "rate=1e-3", "flip=true", 'pair=[36, "nose tip"]', "layers=[1]"]
    built = parse_options(Example, items, "example")
    assert built == Example(landmarks=5, rate=1e-3, flip=True, pair=(36, "nose tip"), layers=[1])
    assert parse_options(Example, ["landmarks=all", "pair=null"], "example") == Example()


def test_text_options_keep_what_was_typed() -> None:
    assert parse_options(Example, ["train=2020"], "example").train == "2020"
    assert parse_options(Example, ["train=1e3"], "example").train == "1e3"
    assert parse_options(Example, ["train=a=b"], "example").train == "a=b"
    # Another mistake beside it is still told.
    with pytest.raises(BenchError, match="'rate'"):
        parse_options(Example, ["train=2020", "rate=quick"], "example")


def test_unknown_option_names_its_neighbours_and_all_options() -> None:
    with pytest.raises(BenchError) as caught:
        parse_options(Example, ["landmrks=5"], "data set 'coco'")
    message = str(caught.value)
    assert "data set 'coco' has no option 'landmrks'" in message
    assert "Did you mean 'landmarks'" in message
    assert "landmarks: integer | all = all" in message
    assert "rate: number = 0.1" in message


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("rate=quick", "'rate' should be a valid number"),
        ("rate=0", "'rate' should be greater than 0, got 0"),
        ("rate=inf", "not a finite number"),
        ("rate=NaN", "'rate' should be greater than 0"),
        ("layers=[1.5]", "'layers' should be a valid integer"),
        ("landmarks=some", "should be 'all', got 'some'"),
        ("flip", "not of the form key=value"),
        ("=3", "not of the form key=value"),
    ],
)
def test_wrong_values_are_told_in_words(item: str, words: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_options(Example, [item], "example")
    assert words in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(BenchError, match="given twice"):
        parse_options(Example, ["rate=1", "rate=2"], "example")


def test_required_options_and_rules_between_options() -> None:
    with pytest.raises(BenchError, match="'low' is required"):
        parse_options(Needy, [], "example")
    with pytest.raises(BenchError, match="example: low 5 is above high 3"):
        parse_options(Needy, ["low=5"], "example")
    with pytest.raises(BenchError, match="has no option 'mid'"):
        build_options(Needy, {"low": 1, "mid": 2}, "example")
    assert build_options(Needy, {"low": 1}, "example") == Needy(low=1, high=3)


def test_summaries_show_type_default_and_description() -> None:
    shown = {option.name: option for option in summarise_options(Example)}
    assert (shown["landmarks"].type, shown["landmarks"].default) == ("integer | all", "all")
    assert shown["landmarks"].description == "how many landmarks"
    assert (shown["pair"].type, shown["pair"].default) == ("[integer | text, integer | text] | null", "null")
    assert (shown["layers"].type, shown["layers"].default) == ("[integer, ...]", "[2, 3]")
    assert (shown["flip"].type, shown["flip"].default) == ("true | false", "false")
    assert summarise_options(Needy)[0].default is None


def test_importing_options_does_not_import_torch() -> None:
    code = "import sys, bench.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
