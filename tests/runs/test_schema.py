"""Records as JSON and back, and what is said of JSON of another shape."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
from fake_run import Shape, make_run
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.config.run_config import RunConfig
from hf_transfer.runs.records import Results
from hf_transfer.runs.schema import REST, ShapeError, from_json, to_json


@dataclass(frozen=True)
class Inner:
    number: float
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    rest: Mapping[str, Any] = field(metadata=REST)
    count: int
    ends: tuple[float, float] | None = None
    rows: list[Inner] = field(default_factory=list)
    named: Mapping[str, Inner | None] = field(default_factory=dict)


INNERS = st.builds(Inner, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("ab"))
OUTERS = st.builds(
    Outer,
    rest=st.dictionaries(st.sampled_from("xyz"), st.integers()),
    count=st.integers(),
    ends=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
    rows=st.lists(INNERS, max_size=3),
    named=st.dictionaries(st.text(max_size=3), st.none() | INNERS, max_size=3),
)


@given(OUTERS)
def test_what_is_read_is_what_was_written(record: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(record), allow_nan=False))) == record


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "it is a list of 0, not an object"),
        ({}, "it lacks 'count'"),
        ({"count": True}, "count is True, not a whole number"),
        ({"count": None}, "count is null, not a whole number"),
        ({"count": 1, "ends": [1, 2, 3]}, "ends is a list of 3, not a list of 2 or null"),
        ({"count": 1, "ends": [1, "x"]}, r"ends\[1\] is 'x', not a number"),
        ({"count": 1, "rows": [{"number": 1.5}, {}]}, r"rows\[1\] lacks 'number'"),
        ({"count": 1, "rows": [{"number": 1, "kind": "c"}]}, r"rows\[0\].kind is 'c', not 'a' or 'b'"),
        ({"count": 1, "named": {"me": 3}}, "named.me is 3, not an object or null"),
        ({"count": "x" * 99}, "count is 'x{58}…, not a whole number"),
    ],
)
def test_a_misfit_is_named_with_what_is_allowed(value: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=f"^{words}$"):
        from_json(Outer, value)


def test_numbers_of_numpy_and_no_number_are_plain() -> None:
    written = to_json({"a": np.float32(0.5), "b": float("nan"), "c": (np.int64(1), None)})
    assert json.dumps(written, allow_nan=False) == '{"a": 0.5, "b": null, "c": [1, null]}'


def test_whole_results_and_their_settings_survive(tmp_path) -> None:
    results = from_json(Results, to_json(make_run(tmp_path, shape=Shape(num_rows=40))))
    assert isinstance(results.config, RunConfig)
    assert from_json(Results, json.loads(json.dumps(to_json(results)))) == results
    later = to_json(results) | {"of_a_later_kit": 1}
    assert from_json(Results, later | {"config": later["config"] | {"new_setting": 2}}) == results


def test_settings_that_cannot_be_are_a_misfit() -> None:
    with pytest.raises(ShapeError, match=r"^config holds no settings: .*num_folds"):
        from_json(Results, _with_config({"num_folds": "x"}))


def _with_config(config: dict[str, Any]) -> dict[str, Any]:
    from sketches import filled

    return filled(Results, {"config": config})
