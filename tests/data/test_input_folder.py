from pathlib import Path

import pytest
from datasets import load_dataset

from hf_transfer.data.input_folder import folder_splits, holds_inputs, is_class_folder
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.image import Image

IMAGE = Image()


def make(folder, *names, content="x"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def read(folder, split="train"):
    rows, notes = folder_splits(folder, IMAGE)[split]()
    names = [str(Path(picture["path"]).relative_to(folder)) for picture in rows["image"]]
    return list(zip(names, rows["label"], strict=True)), notes


def test_a_folder_is_a_class(tmp_path):
    make(tmp_path, "dog/b.jpg", "cat/B.PNG", "cat/a.jpeg")
    assert read(tmp_path) == ([("cat/B.PNG", "cat"), ("cat/a.jpeg", "cat"), ("dog/b.jpg", "dog")], ())


def test_the_word_train_in_a_file_name_drops_nothing(tmp_path):
    make(tmp_path, "cat/train_1.jpg", "cat/2.jpg", "dog/test.jpg")
    assert len(read(tmp_path)[0]) == 3


def test_class_folders_may_lie_in_split_folders(tmp_path):
    make(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "val/dog/4.jpg", "Test/5.jpg")
    assert sorted(folder_splits(tmp_path, IMAGE)) == ["test", "train", "validation"]
    assert [label for _, label in read(tmp_path, "validation")[0]] == ["cat", "dog"]
    with pytest.raises(DataError, match=r"Test holds 1 picture but no class folders"):
        read(tmp_path, "test")


def test_the_same_rows_as_the_loader_of_datasets(tmp_path):
    make(
        tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "train/dog/3.jpg", "test/cat/4.jpg", "test/dog/5.jpg"
    )
    theirs = load_dataset(str(tmp_path), cache_dir=str(tmp_path / ".cache"))
    for split in ("train", "test"):
        labels = theirs[split].features["label"].int2str(theirs[split]["label"])
        assert [label for _, label in read(tmp_path, split)[0]] == labels


def test_what_is_hidden_is_passed_over_and_the_rest_counted(tmp_path):
    make(tmp_path, "cat/1.jpg", "dog/2.jpg", "cat/notes.txt", "loose.jpg")
    make(tmp_path, ".DS_Store", "cat/.hidden.jpg", ".git/3.jpg", "__MACOSX/cat/4.jpg", "cat/.thumbs/5.jpg")
    rows, notes = read(tmp_path)
    assert len(rows) == 2
    assert notes == ("2 files that are no pictures of a class left out: 'loose.jpg', 'notes.txt'.",)


def test_a_broken_link_is_kept_to_be_reported(tmp_path):
    make(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "cat" / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    assert len(read(tmp_path)[0]) == 3


def test_a_class_may_be_called_train(tmp_path):
    make(tmp_path, "bus/1.jpg", "train/2.jpg")
    assert [label for _, label in read(tmp_path)[0]] == ["bus", "train"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/1.jpg", "test/2.jpg"],
            "The classes of data would be .'test', 'train'., which are names of splits",
        ),
        (["train/1.jpg"], "The classes of data would be .'train'."),
        (["cat/1.jpg", "dog/notes.txt"], "The class folder 'dog' of data holds no picture"),
        (["1.jpg", "2.jpg"], "data holds 2 pictures but no class folders"),
        (["images/1.jpg", "labels.txt"], "data has one class folder, 'images'"),
        (
            ["photo/cat/1.jpg", "sketch/cat/2.jpg"],
            "'photo' in data holds folders .cat., so which level names",
        ),
        (["train/cat/1.jpg", "train/dog/2.jpg", "cat/3.jpg"], "'train' in data holds folders .cat, dog."),
    ],
)
def test_layouts_that_would_invent_or_lose_labels_are_refused(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read(make(tmp_path / "data", *names))


def test_two_folders_of_one_split_are_refused(tmp_path):
    make(tmp_path, "val/cat/1.jpg", "dev/cat/2.jpg")
    with pytest.raises(DataError, match=r"are the split 'validation', one is 'val'"):
        folder_splits(tmp_path, IMAGE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "file_name,label,patient\nb.jpg,x,1\nsub/a.jpg,y,2\n"),
        (
            "metadata.jsonl",
            '{"file_name": "b.jpg", "label": "x", "patient": "1"}\n'
            '{"file_name": "sub/a.jpg", "label": "y", "patient": "2"}\n',
        ),
    ],
)
def test_a_metadata_file_names_pictures_and_labels(tmp_path, name, content):
    make(tmp_path, "b.jpg", "sub/a.jpg", "sub/unlisted.jpg")
    make(tmp_path, name, content=content)
    rows, notes = read(tmp_path)
    assert rows == [("b.jpg", "x"), ("sub/a.jpg", "y")]
    assert notes == (f"1 file not named in {name} left out: 'unlisted.jpg'.",)
    assert folder_splits(tmp_path, IMAGE)["train"]()[0]["patient"][:] == ["1", "2"]


def test_a_metadata_file_may_lie_in_each_split(tmp_path):
    make(tmp_path, "train/1.jpg", "test/2.jpg")
    make(tmp_path, "train/metadata.csv", content="file_name,label\n1.jpg,x\n")
    make(tmp_path, "test/metadata.csv", content="file_name,label\n2.jpg,y\n")
    assert read(tmp_path, "test")[0] == [("test/2.jpg", "y")]


def test_metadata_without_file_names_is_refused(tmp_path):
    make(tmp_path, "metadata.csv", content="file,label\n1.jpg,x\n")
    with pytest.raises(DataError, match=r"metadata.csv has no column 'file_name'; it has .'file', 'label'"):
        read(tmp_path)


def test_image_folders_are_told_from_others(tmp_path):
    assert is_class_folder(make(tmp_path / "classes", "cat/1.jpg", "dog/2.jpg"), IMAGE)
    assert is_class_folder(make(tmp_path / "splits", "train/cat/1.jpg", "train/dog/2.jpg"), IMAGE)
    assert is_class_folder(make(tmp_path / "metadata", "train/metadata.csv"), IMAGE)
    assert not is_class_folder(make(tmp_path / "one", "images/1.jpg", "labels.csv"), IMAGE)
    assert holds_inputs(make(tmp_path / "deep", "a/b/c/1.jpg"), IMAGE)
    assert not holds_inputs(make(tmp_path / "texts", "a/b.txt"), IMAGE)
