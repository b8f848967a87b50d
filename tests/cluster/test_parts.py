from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import KINDS, plain_config

from hf_transfer import RunConfig, cross_validate, open_dataset
from hf_transfer.cluster.parts import part_folder, parts_folder
from hf_transfer.config.parts import part_problem, read_part
from hf_transfer.errors import ConfigError, DoneEarlyError
from hf_transfer.runs.results import read_results

AVERAGED = {"trainable": "last:1", "head_start": "probe", "wise": "0.5", "max_rows": 20}
LAST = KINDS["text"][1] | {"trainable": "last:1", "num_folds": 3, "final": "refit"}


def run(config, kind="text"):
    data = open_dataset(config, kind)
    return cross_validate(data.task(config, data.target), data, config)


@pytest.mark.parametrize(
    ("kind", "settings", "trained"),
    [
        pytest.param("text", LAST, [2, 1], marks=pytest.mark.slow),
        ("image", KINDS["pictures"][1], [2, 0]),  # of which the heads are one
        ("image", KINDS["pictures"][1] | AVERAGED, [1, 1]),
    ],
)
def test_parts_that_are_joined_are_one_run_to_the_bit(kind, settings, trained, tmp_path, monkeypatch):
    config = plain_config(**settings, output_dir=str(tmp_path / "one"))
    run(config, kind)
    config = replace(config, output_dir=str(tmp_path / "many"), engine="parts")
    for part in ("0/2", "1/2"):
        with pytest.raises(DoneEarlyError, match=f"Part {part} is there, "):
            run(replace(config, part=part), kind)
    there = [len(list(part_folder(config.output_dir, p).glob("folds/*/done.json"))) for p in ("0/2", "1/2")]
    assert there == trained
    monkeypatch.setattr("hf_transfer.study.study.FoldRunner.run", None)  # no fold is trained again
    run(config, kind)
    for name in ("predictions.parquet", "folds/r0f1/predictions.parquet"):
        assert pq.read_table(tmp_path / "one" / name) == pq.read_table(tmp_path / "many" / name)
    assert read_results(tmp_path / "one").wise == read_results(tmp_path / "many").wise
    files = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("one", "many")]
    assert files[0] == files[1]


def test_what_a_part_lacks_is_trained_where_they_are_joined(tmp_path):
    config = plain_config(**LAST | {"final": "none"}, output_dir=str(tmp_path / "run"), engine="parts")
    with pytest.raises(DoneEarlyError, match="1 fold"):
        run(replace(config, part="2/3"))
    assert len(run(config).folds) == 3


def test_parts_of_another_run_are_not_taken(tmp_path):
    config = plain_config(**LAST | {"final": "none"}, output_dir=str(tmp_path / "run"), engine="parts")
    with pytest.raises(DoneEarlyError, match="3 folds"):
        run(replace(config, part="0/1", learning_rate=5e-4))
    with pytest.raises(ConfigError, match="0-of-1 is a part of another run"):
        run(config)


@given(st.integers(0, 99), st.integers(1, 99))
def test_a_part_is_one_of_those_there_are(index, number):
    text = f"{index}/{number}"
    assert bool(part_problem(text, "part")) == (index >= number)
    assert read_part(text) == (index, number)


@pytest.mark.parametrize("text", ["", "1", "1/0", "a/b", "-1/3", "1/2/3", "1 /2", "1.0/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ConfigError, match=r"is no part\. Write i/n with i from 0 to n - 1"):
        RunConfig(engine="parts", part=text)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"part": "0/2"}, "part='0/2' is for engine='parts'"),
        ({"gpus_per_unit": 0.5}, "gpus_per_unit=0.5 is for engine='ray'"),
        ({"engine": "ray", "folds_per_device": 2}, "engine='ray' hands out the folds itself"),
        ({"engine": "ray", "parallel": "data"}, "engine='ray' hands out the folds itself"),
        ({"engine": "dask"}, "engine='dask' is not one of here, ray, parts"),
    ],
)
def test_settings_that_do_not_go_together(settings, words):
    with pytest.raises(ConfigError, match=words):
        RunConfig(**settings)


def test_parts_lie_beside_the_run():
    assert part_folder("runs/a", "3/10").parent == parts_folder("runs/a")
    assert parts_folder("runs/a").as_posix() == "runs/a.parts"
