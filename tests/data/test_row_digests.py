"""Digests of rows are kept from when the rows were decoded, and are those that decoding again gives."""

import io

import pytest
from datasets import Dataset
from PIL import Image
from small_runs import PICTURES, SOUNDS, plain_config

from hf_transfer import RunConfig, cross_validate, open_dataset
from hf_transfer.data.row_digests import row_digests
from hf_transfer.data.rows import label_rows
from hf_transfer.data.sealing import seal_rows
from hf_transfer.runs.base_origin import LEARNED_ROWS
from hf_transfer.runs.reading import read_table
from hf_transfer.study.final.reload import NUM_RELOADED
from hf_transfer.tasks.inputs import pictures, sounds


def encoded(grey: int) -> dict:
    stream = io.BytesIO()
    Image.new("L", (6, 4), grey).save(stream, format="PNG")
    return {"bytes": stream.getvalue(), "path": None}


OPENED = [
    ("image", {"dataset": "builtin:digits_5to9", "max_rows": 30}),
    ("audio", {"dataset": "builtin:tones", "max_rows": 12}),
    ("image_text", {"dataset": "builtin:digit_texts", "max_rows": 30, "table_columns": ()}),
    ("image_text", {"dataset": "builtin:digit_texts", "max_rows": 30, "table_columns": ("ink", "roundness")}),
]


@pytest.mark.parametrize(("kind", "settings"), OPENED)
def test_kept_digests_are_those_that_decoding_gives(kind, settings):
    data = open_dataset(plain_config(**settings), kind)
    assert data.digests is not None
    assert data.row_digests(data.rows) == row_digests(data.input, data.rows)
    few = data.rows.select([7, 2, 5])
    assert data.row_digests(few) == row_digests(data.input, few)


def test_rows_that_were_left_out_or_sealed_keep_the_others_at_their_places():
    images = [None, *(encoded(10 * i) for i in range(24))]
    images[5] = {"bytes": b"no picture", "path": None}
    rows, test = (
        Dataset.from_dict({"image": some, "label": [i % 2 for i in range(len(some))]})
        for some in (images, images[:0:-2])
    )
    config = RunConfig(on_bad_image="skip", sealed=0.2, base_model=PICTURES["base_model"])
    data = label_rows(rows, config, "image", test=test)
    sealed = seal_rows(data.task(config, data.target), data, config)
    assert (len(data.test), len(sealed.rows) + len(sealed.sealed)) == (12, 23)
    for part in (data.test, data.rows, sealed.rows, sealed.sealed):
        assert sealed.row_digests(part) == row_digests(data.input, part)


def test_texts_are_not_decoded_and_keep_nothing():
    data = open_dataset(plain_config(dataset="builtin:reviews", max_rows=12), "text")
    assert data.digests is None
    assert len({*data.row_digests(data.rows)}) == 12


def decoded(monkeypatch, module, name: str, config: RunConfig, kind: str) -> int:
    """How many inputs a run decodes."""
    calls, real = [], getattr(module, name)

    def counted(*given, **named):
        calls.append(1)
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, counted)
        data = open_dataset(config, kind)
        cross_validate(data.task(config, data.target), data, config)
    return len(calls)


@pytest.mark.parametrize(
    ("settings", "kind", "module", "name"),
    [(PICTURES | {"max_rows": 24}, "image", pictures, "_to_rgb"), (SOUNDS, "audio", sounds, "_decoded")],
    ids=["pictures", "sounds"],
)
def test_a_run_that_publishes_its_model_decodes_nothing_more_for_the_digests(
    tmp_path, monkeypatch, settings, kind, module, name
):
    counts = {}
    for final in ("none", "refit"):
        folder = tmp_path / final
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / f"cache of {final}")
        config = plain_config(**settings | {"final": final, "output_dir": str(folder)})
        counts[final] = decoded(monkeypatch, module, name, config, kind)
    kept = read_table(folder / LEARNED_ROWS, ["digest"])["digest"].to_pylist()
    assert len(kept) > 1
    assert counts["none"] > 48  # to see whether they can be read, and to encode them
    assert counts["refit"] - counts["none"] == 2 * NUM_RELOADED  # with and without the kit
