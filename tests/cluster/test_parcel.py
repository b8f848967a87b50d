import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from near_carrier import assert_plain
from small_runs import KINDS, plain_config

import hf_transfer
from hf_transfer import RunConfig, open_dataset
from hf_transfer.cluster.parcel import bulk_key, model_files, pack, plain_unit, read_config, read_unit, unpack
from hf_transfer.data.sealing import seal_rows
from hf_transfer.errors import ConfigError
from hf_transfer.study.experiment import Experiment

TABLE = {
    "base_model": "builtin:tiny-clip", "dataset": "builtin:digit_texts", "max_rows": 24, "num_folds": 2,
    "trainable": "head", "table_columns": ("roundness", "ink"),
}  # fmt: skip


def experiment(kind, **settings):
    config = plain_config(**settings)
    data = open_dataset(config, kind)
    task = data.task(config, data.target)
    return Experiment(task, seal_rows(task, data, config), config)


def there_and_back(one, tmp_path):
    parcel = pack(one)
    assert_plain(parcel.about)
    assert_plain(parcel.bulk)
    about = json.loads(json.dumps(parcel.about))  # texts, numbers, lists and mappings alone
    return unpack(about, parcel.bulk, tmp_path / "run", tmp_path / "model")


@pytest.mark.parametrize("name", ["text", "pictures", "words", "grid", "sounds", "table"])
def test_an_experiment_comes_out_as_it_went_in(name, tmp_path):
    kind, settings = ({"table": ("image_text", TABLE)} | KINDS)[name]
    one = experiment(kind, **settings | {"sealed": 0.2, "final": "refit"}, output_dir=str(tmp_path / "here"))
    other = there_and_back(one, tmp_path)
    assert [one.identity(c) for c in one.grid] == [other.identity(c) for c in other.grid]
    assert one.fold_table().equals(other.fold_table())
    assert one.data.rows["label"][:] == other.data.rows["label"][:]
    assert len(one.data.sealed) == len(other.data.sealed)
    assert one.task.input.table == other.task.input.table
    assert (one.task.input.table is not None) == (name == "table")
    assert {config.output_dir for config in (other.config, *other.grid)} == {str(tmp_path / "run")}
    assert bulk_key(one) == bulk_key(other)


def test_a_model_in_a_folder_goes_along_under_its_name(tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(Path(hf_transfer.__file__).parent / "data" / "builtin" / "digits-resnet", folder)
    one = experiment("image", **KINDS["pictures"][1] | {"base_model": str(folder)})
    assert "config.json" in model_files(one.task.base)
    parcel = pack(one)
    shutil.rmtree(folder)  # as on a node, which has no such folder
    other = unpack(parcel.about, parcel.bulk, tmp_path / "run", tmp_path / "model")
    assert other.task.base.name == str(folder)
    assert one.identity(one.config) == other.identity(other.config)
    assert other.task.build_model() is not None


def test_a_node_with_another_model_under_that_name_refuses(tmp_path):
    parcel = pack(experiment("text", **KINDS["text"][1]))
    with pytest.raises(ConfigError, match=r"is of revision .* on this node, and of another where"):
        unpack({**parcel.about, "revision": "another"}, parcel.bulk, tmp_path / "run", tmp_path / "model")


def test_a_unit_and_settings_come_out_as_they_went_in(tmp_path):
    config = RunConfig(
        learning_rates=(1e-3, 1e-2), num_repeats=2, label_columns=("a", "b"), mixed_precision="bf16"
    )
    folder = tmp_path / "run"
    assert read_config(json.loads(json.dumps(config.to_dict())), folder) == replace(
        config, output_dir=str(folder)
    )
    one = experiment("text", **KINDS["text"][1])
    for unit in one.units:
        other = read_unit(json.loads(json.dumps(plain_unit(unit))), folder)
        assert replace(other, config=unit.config) == unit
        assert other.seed == unit.seed


def test_rows_that_are_added_do_not_go_along(tmp_path):
    one = experiment("text", **KINDS["text"][1])
    with pytest.raises(ConfigError, match="does not carry the rows of add_source"):
        pack(replace(one, config=replace(one.config, add_source=("reviews",))))
