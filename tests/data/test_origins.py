import json
import os

import PIL.Image
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, Image, Value
from datasets.exceptions import DatasetNotFoundError

from hf_transfer import RunConfig
from hf_transfer.data import origins
from hf_transfer.data.origins import Origin, find_origin
from hf_transfer.data.saved_folder import load_saved
from hf_transfer.errors import DataError
from hf_transfer.machine.paths import hub_folder
from hf_transfer.tasks import task_of_kind

CSV = "text,label\na,x\nb,y\n"


def origin(dataset, kind="text", **settings):
    return find_origin(RunConfig(dataset=str(dataset), **settings), task_of_kind(kind).input)


def rows(found, split="train"):
    return found.splits[split]()[0].num_rows


def test_a_file_is_one_split(tmp_path):
    (tmp_path / "reviews.csv").write_text(CSV)
    found = origin(tmp_path / "reviews.csv")
    assert (found.name, found.hub, list(found.splits), rows(found)) == ("reviews.csv", False, ["train"], 2)


def test_a_folder_of_files_has_the_splits_they_say(tmp_path):
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "test.jsonl").write_text('{"text": "c", "label": "x"}\n')
    (tmp_path / "README.md").write_text("about")
    found = origin(tmp_path)
    assert (rows(found), rows(found, "test")) == (2, 1)


def test_shards_may_lie_in_a_folder_called_data(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(2):
        Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "data" / f"train-0000{i}-of-00002.parquet")
    assert rows(origin(tmp_path)) == 2


@pytest.mark.parametrize("in_splits", [False, True])
def test_a_saved_dataset_is_loaded(tmp_path, in_splits):
    saved = Dataset.from_dict({"text": ["a", "b"]})
    (DatasetDict(train=saved) if in_splits else saved).save_to_disk(tmp_path / "saved")
    assert rows(origin(tmp_path / "saved")) == 2


def test_a_saved_dataset_that_is_damaged_is_refused(tmp_path):
    Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"cut")
    with pytest.raises(DataError, match=r"saved is not a whole save_to_disk folder"):
        origin(tmp_path / "saved")


def test_pictures_beside_a_table_are_found_through_the_table(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").touch()
    (tmp_path / "labels.csv").write_text("image,label\nimages/1.jpg,x\n")
    assert origin(tmp_path, "image").splits["train"]()[0].column_names == ["image", "label"]


@pytest.mark.parametrize(
    "name", ["./reviews", "/no/such/place", "~/nowhere", "a/b/c", "reviews.csv", "data\\x"]
)
def test_a_path_that_does_not_exist_is_named_in_full(name):
    with pytest.raises(
        DataError, match=r"No such file or folder: /.*Works without a network: .*builtin:reviews"
    ):
        origin(name)


def test_without_a_network_both_causes_and_a_way_out_are_told():
    message = r"'user/reviews' is not a local path .*/user/reviews.*no network.*--dataset builtin:mentions"
    with pytest.raises(DataError, match=message):
        origin("user/reviews", "tokens")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            DatasetNotFoundError("Dataset 'me/x' doesn't exist"),
            "the Hub has no such dataset, or it is private",
        ),
        (ValueError("BuilderConfig 'b' not found. Available: ['c']"), "'me/x' cannot be loaded: .*Available"),
        (RuntimeError("Dataset scripts are no longer supported"), "cannot be loaded: Dataset scripts"),
    ],
)
def test_what_the_hub_says_is_passed_on(monkeypatch, error, message):
    def fail(*_):
        raise OSError("wrapped") from error

    def fail_plainly(*_):
        raise error

    monkeypatch.setattr(origins, "hub_reachable", lambda: True)
    monkeypatch.setattr(origins, "load_dataset", fail_plainly)
    with pytest.raises(DataError, match=message):
        origin("me/x")
    monkeypatch.setattr(origins, "hub_reachable", lambda: True)
    monkeypatch.setattr(origins, "load_dataset", fail)
    with pytest.raises(DataError, match=str(error)[:12]):
        origin("me/x")


def test_a_hub_dataset_keeps_its_id_and_configuration(monkeypatch):
    loaded = DatasetDict(validation=Dataset.from_dict({"text": ["a"]}))
    monkeypatch.setattr(origins, "hub_reachable", lambda: True)
    monkeypatch.setattr(origins, "load_dataset", lambda name, config: loaded)
    found = origin("me/x", dataset_config="en")
    assert (found.name, found.config_name, found.hub, list(found.splits)) == (
        "me/x",
        "en",
        True,
        ["validation"],
    )


def test_a_local_path_wins_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "x").mkdir()
    (tmp_path / "me" / "x" / "train.csv").write_text(CSV)
    assert not origin("me/x").hub


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("notes.txt", "text", "notes.txt is not of a format that is read; allowed are .csv, .json"),
        ("", "image", "holds no data for image: neither files .* nor, for image, folders of pictures"),
    ],
)
def test_places_without_data_are_refused(tmp_path, content, kind, message):
    if content:
        (tmp_path / content).touch()
    with pytest.raises(DataError, match=message):
        origin(tmp_path / content, kind)


def test_no_dataset_at_all_is_refused():
    with pytest.raises(
        DataError, match=r"No dataset is given. Pass --dataset, e.g. --dataset builtin:digits"
    ):
        origin("", "image")


def splits(*names):
    return Origin("data", splits=dict.fromkeys(names, lambda: None))


def test_the_usual_split_is_train_or_the_only_one():
    assert splits("test", "train").find_split(None) == "train"
    assert splits("test").find_split(None) == "test"
    with pytest.raises(DataError, match=r"data has no split 'train'; pass --split with one of 'a', 'b'"):
        splits("b", "a").find_split(None)


def test_a_split_is_found_by_its_other_names():
    assert splits("train", "validation").find_split("val") == "validation"
    assert splits("train", "dev").find_split("dev") == "dev"


def test_an_unknown_split_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"no split 'trian'; it has 'test', 'train'. Did you mean 'train'"):
        splits("train", "test").find_split("trian")


def save_texts(folder, word="a"):
    rows = {"text": [f"{word}{i}" for i in range(4)], "label": [0, 1, 0, 1]}
    Dataset.from_dict(rows).save_to_disk(folder)
    return folder


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def state_names_another(saved, secret):
    name = f"../{secret.name}/data-00000-of-00001.arrow"
    edit(saved / "state.json", lambda state: state.update(_data_files=[{"filename": name}]))


def rows_are_a_link(saved, secret):
    rows = next(saved.glob("*.arrow"))
    rows.unlink()
    rows.symlink_to(secret / rows.name)


def splits_name_another(saved, secret):
    (saved / "state.json").unlink()
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": [f"../{secret.name}"]}))


def a_split_is_a_link(saved, secret):
    (saved / "state.json").unlink()
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    (saved / "train").symlink_to(secret)


@pytest.mark.parametrize(
    "change", [state_names_another, rows_are_a_link, splits_name_another, a_split_is_a_link]
)
def test_a_saved_dataset_reads_nothing_outside_unless_that_is_allowed(tmp_path, change):
    saved, secret = save_texts(tmp_path / "saved"), save_texts(tmp_path / "secret", "s")
    change(saved, secret)
    with pytest.raises(DataError, match=r"(leaves the folder|is a link to).*--allow_outside"):
        origin(saved)
    found = origin(saved, allow_outside=True)
    ((rows, _),) = (read() for read in found.splits.values())
    assert rows["text"][0] == "s0"


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
def test_a_pipe_in_a_saved_dataset_is_not_waited_for(tmp_path, name):
    saved = save_texts(tmp_path / "saved")
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(DataError, match=f"{name} is a pipe, not a file"):
        load_saved(saved)


@pytest.mark.parametrize("content", ["[" * 10**5, "[]", '{"a": 1, "_data_files": 3}', '{"_data_files": [1]}'])
def test_a_saved_dataset_of_senseless_lists_is_refused(tmp_path, content):
    saved = save_texts(tmp_path / "saved")
    (saved / "state.json").write_text(content)
    with pytest.raises(DataError, match=r"is not a whole save_to_disk folder"):
        origin(saved)


def pictures_by_path(path):
    """A data set as the Hub's may be, which names a picture instead of holding it."""
    stored = {"bytes": pa.array([None], pa.binary()), "path": pa.array([str(path)])}
    column = pa.StructArray.from_arrays(list(stored.values()), names=list(stored))
    features = Features({"image": Image(), "label": Value("string")})
    return Dataset(pa.table({"image": column, "label": ["x"]}, schema=features.arrow_schema))


@pytest.mark.parametrize("column", ["picture", "text"])
def test_a_dataset_of_the_hub_reads_no_picture_of_this_machine(tmp_path, monkeypatch, column):
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "mine.png")
    rows = pictures_by_path(tmp_path / "mine.png")
    if column == "text":
        rows = Dataset.from_dict({"image": [str(tmp_path / "mine.png")], "label": ["x"]})
    monkeypatch.setattr(origins, "hub_reachable", lambda: True)
    monkeypatch.setattr(origins, "load_dataset", lambda *_: rows)
    read = task_of_kind("image").input.read
    place = origin("me/x", "image")
    with pytest.raises(DataError, match=r"leaves the folder datasets--me--x.*--allow_outside"):
        read(rows, "image", folder=place.folder, outside=place.outside)
    place = origin("me/x", "image", allow_outside=True)
    kept = read(rows, "image", folder=place.folder, outside=place.outside)
    assert kept["input"][0]["path"] == str(tmp_path / "mine.png")


def test_what_datasets_unpacked_from_the_hub_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    read = task_of_kind("image").input.read
    for place in (tmp_path / "extracted" / "a.png", hub_folder("me/x") / "snapshots" / "1" / "a.png"):
        kept = read(pictures_by_path(place), "image", folder=hub_folder("me/x"))
        assert kept["input"][0]["path"] == str(place)
    with pytest.raises(DataError, match=r"leaves the folder x"):
        read(pictures_by_path(tmp_path / "extracted" / "a.png"), "image", folder=tmp_path / "x")


def test_pictures_of_a_saved_dataset_stay_in_its_folder(tmp_path):
    place = origin(save_texts(tmp_path / "saved"), "image")
    read = task_of_kind("image").input.read
    with pytest.raises(DataError, match=r"leaves the folder saved"):
        read(pictures_by_path("/a.png"), "image", folder=place.folder, outside=place.outside)
