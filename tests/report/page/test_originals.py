import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sketches import results_of

from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.opening import open_dataset
from hf_transfer.report.page.originals import find_originals
from hf_transfer.runs.records import Results


@pytest.fixture
def texts(tmp_path: Path) -> RunConfig:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": f"row {i} " + "x" * (500 if i == 3 else 0), "label": "ab"[i % 2]} for i in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return RunConfig(dataset=str(path))


@pytest.fixture
def pictures(tmp_path: Path) -> RunConfig:
    for i in range(4):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (600, 300), (60 * i, 0, 0)).save(folder / f"{i}.png")
    return RunConfig(dataset=str(tmp_path / "pictures"))


def results(config: RunConfig, task: str, **dataset: Any) -> Results:
    fingerprint = open_dataset(config, "image" if task.startswith("image") else "text").fingerprint
    parts = {"task": task, "config": config.to_dict(), "dataset": {"fingerprint": fingerprint} | dataset}
    return results_of(parts)


def test_texts_are_found_by_their_row_and_cut(texts: RunConfig) -> None:
    found = find_originals(results(texts, "text-classification"), [3, 1])
    assert found.reason is None
    assert found.rows[1].text == "row 1 "
    assert found.rows[3].text == "row 3 " + "x" * 394 + "…"
    assert set(found.rows) == {1, 3}


def test_pictures_become_small_data_uris(pictures: RunConfig) -> None:
    found = find_originals(results(pictures, "image-classification"), [2])
    head, _, data = found.rows[2].picture.partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 160)
    assert found.rows[2].name == "1.png"


def test_a_data_set_that_is_gone_is_told(texts: RunConfig) -> None:
    known = results(texts, "text-classification")
    Path(texts.dataset).unlink()
    found = find_originals(known, [1])
    assert found.rows == {}
    assert found.reason is not None
    assert found.reason.startswith("The data set cannot be opened here: ")


def test_a_data_set_that_changed_is_not_shown(texts: RunConfig) -> None:
    found = find_originals(results(texts, "text-classification", fingerprint="other"), [1])
    assert (found.rows, found.reason) == (
        {},
        "The data set has changed since the run, so its rows are not shown.",
    )


def test_nothing_is_opened_where_nothing_is_wanted() -> None:
    found = find_originals({"task": "text-classification"}, [])
    assert (found.rows, found.reason) == ({}, None)
