"""What is wrong and what the kit says of it: each line of the table is one command, as a user types it.

Every message names what was given, what is allowed or what was found, and what to do. There is no traceback,
and the output folder stays as it was.
"""

import io
import json
import os
import pickle
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Value
from fake_run import Shape, make_run
from PIL import Image

import hf_transfer
from hf_transfer.cli.main import main

# scikit-learn's words on the made-up runs' few rows
pytestmark = pytest.mark.filterwarnings("ignore:A single label was found")

SETTINGS, DATA, HUB = 2, 3, 5  # exit codes

TEXT = "run sentiment --base_model builtin:tiny-bert --dataset {} --max_length 16 --output_dir out"
PICTURES = "run image_classification --base_model builtin:digits-resnet --dataset {} --output_dir out"
WORDS = "run ner --base_model builtin:tiny-bert --dataset {} --max_length 16 --output_dir out"
MODEL = "run sentiment --dataset builtin:reviews --max_rows 20 --output_dir out --base_model"
READY = TEXT.format("builtin:reviews") + " --max_rows 20"
READY_PICTURES = PICTURES.format("builtin:digits_5to9") + " --max_rows 20"

CSV = "text,label,who,day,fold\n" + "".join(
    f"thing {i},{'yes' if i % 2 else 'no'},ann{i % 3},2026-01-{i + 10},{i % 2}\n" for i in range(12)
)

Make = Callable[[Path], object]


class Bad(NamedTuple):
    """What it is called, how it is made in an empty folder, the command, and what comes of it."""

    name: str
    make: Make
    command: str
    code: int
    message: str


def nothing(_: Path) -> None:
    pass


def file(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def lines(name: str, *rows: Any) -> Make:
    return file(name, "\n".join(json.dumps(row) for row in rows))


def both(*makes: Make) -> Make:
    return lambda folder: [make(folder) for make in makes]


def copied(model: str, name: str) -> Make:
    """A built-in model's folder."""
    source = Path(hf_transfer.__file__).parent / "data" / "builtin" / model
    return lambda folder: shutil.copytree(source, folder / name)


def table(name: str, columns: dict[str, Any]) -> Make:
    def make(folder: Path) -> None:
        pq.write_table(pa.table(columns), folder / name)

    return make


def saved(name: str, columns: dict[str, Any], *names: str) -> Make:
    """A save_to_disk folder whose labels are ids of those names."""

    def make(folder: Path) -> None:
        features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
        # Made from a table, as making it from values would look at the ids.
        Dataset(pa.table(columns), DatasetInfo(features=features)).save_to_disk(str(folder / name))

    return make


def png(width: int = 8, height: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 200)).save(stream, "PNG")
    return stream.getvalue()


def bomb(width: int = 14_000, height: int = 14_000) -> bytes:
    """A PNG of 196 million pixels in some 25 kB."""
    squeeze = zlib.compressobj(9)
    line = bytes(1 + width // 8)
    data = b"".join(squeeze.compress(line) for _ in range(height)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in chunks
    )


def picture_folder(**odd: bytes) -> Make:
    """Two class folders of three pictures each; the first files of `a` are replaced."""

    def make(folder: Path) -> None:
        for name in "ab":
            (folder / "pics" / name).mkdir(parents=True)
            for i in range(3):
                (folder / "pics" / name / f"{i}.png").write_bytes(png(8 + i))
        for i, content in enumerate(odd.values()):
            (folder / "pics" / "a" / f"{i}.png").write_bytes(content)

    return make


def link(name: str, to: str = "secret/0.png") -> Make:
    """Class folders of pictures, if there are none yet, with a link to what lies beside them."""

    def make(folder: Path) -> None:
        if not (folder / "pics").exists():
            picture_folder()(folder)
        (folder / "secret").mkdir()
        (folder / "secret" / "0.png").write_bytes(png())
        (folder / name).symlink_to(folder / to)

    return make


def metadata(*names: str) -> Make:
    """A folder of pictures whose classes a file tells, with some names in it."""

    def make(folder: Path) -> None:
        (folder / "pics").mkdir()
        (folder / "secret.png").write_bytes(png())
        for i in range(4):
            (folder / "pics" / f"{i}.png").write_bytes(png(8 + i))
        rows = [f"{i}.png,{'ab'[i % 2]}" for i in range(4)] + [f"{name},a" for name in names]
        (folder / "pics" / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))

    return make


@cache
def made_up(task: str, shape: Shape) -> Path:
    folder = Path(mkdtemp(dir=os.environ["HF_HOME"])) / "run"
    make_run(folder, task, shape)
    return folder


def finished(name: str = "run", **changes: Any) -> Make:
    """A finished run; with `change`, what is done to its results.json."""
    change = changes.pop("change", None)

    task = changes.pop("task", "text-classification")

    def make(folder: Path) -> None:
        shutil.copytree(made_up(task, Shape(num_rows=20, num_folds=3, **changes)), folder / name)
        if change:
            path = folder / name / "results.json"
            values = json.loads(path.read_text())
            change(values)
            path.write_text(json.dumps(values))

    return make


CODE = "open('pwned', 'w')"  # what foreign code would do


def small_model(**changes: Any) -> Make:
    """The built-in text model as a folder, with other values in its config.json."""

    def make(folder: Path) -> None:
        shutil.copytree(Path(hf_transfer.__file__).parent / "data" / "builtin" / "tiny-bert", folder / "bert")
        path = folder / "bert" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return make


def sized_vit(size: int) -> Make:
    """A vision transformer for pictures of 32 pixels, with a processor that gives other ones."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = {"model_type": "vit", "image_size": 32, "patch_size": 16} | sizes
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": size, "width": size}}
    return both(
        file("vit/config.json", json.dumps(config)),
        file("vit/preprocessor_config.json", json.dumps(processor)),
    )


class Poison:
    def __reduce__(self) -> Any:
        return exec, (CODE,)


def poisoned(folder: Path) -> None:
    small_model()(folder)
    (folder / "bert" / "pytorch_model.bin").write_bytes(pickle.dumps({"bert": Poison()}, protocol=2))


def words(*tags: list[Any]) -> Make:
    return lines("a.jsonl", *({"tokens": ["Ann", "saw", "Rome"], "ner_tags": row} for row in tags))


def spans(*given: Any) -> Make:
    return lines("a.jsonl", {"text": "Anna Berg saw Oslo", "label": list(given)})


DATA_FILES = [
    Bad("no such file", nothing, TEXT.format("nowhere.csv"), DATA,
        "No such file or folder: .*nowhere.csv.*without a network: .*builtin:reviews"),
    Bad("no such folder", nothing, PICTURES.format("./pics"), DATA, "No such file or folder: .*pics"),
    Bad("no such Hub data set", nothing, TEXT.format("me/reviews"), DATA,
        r"'me/reviews' is not a local path \(.*\), and there is no network.*Works without a network"),
    Bad("no such built-in data", nothing, TEXT.format("builtin:revues"), DATA, "revues.*builtin:reviews"),
    Bad("pictures for a text task", nothing, TEXT.format("builtin:digits_5to9"), DATA,
        "builtin:digits_5to9 holds image rows, not text; for text take builtin:reviews"),
    Bad("a format that is not read", file("a.xlsx", "PK"), TEXT.format("a.xlsx"), DATA,
        r"a.xlsx is not of a format that is read; allowed are .csv, .json"),
    Bad("a zip file", file("a.zip", "PK"), TEXT.format("a.zip"), DATA,
        "a.zip is not of a format that is read"),
    Bad("a text of millions of letters", file("a.csv", "text,label\nshort,a\n" + "x" * 5_000_001 + ",b\n"),
        TEXT.format("a.csv"), DATA,
        "1 row with more than 5,000,000 characters in column 'text': row 1 .*Cut such texts"),
    Bad("an empty file", file("a.csv", ""), TEXT.format("a.csv"), DATA, "a.csv holds no rows. Give a file"),
    Bad("a header alone", file("a.csv", "text,label\n"), TEXT.format("a.csv"), DATA, "a.csv holds no rows"),
    Bad("an empty folder", lambda folder: (folder / "data").mkdir(), TEXT.format("./data"), DATA,
        "data holds no data for text: neither files"),
    Bad("UTF-16", file("a.csv", CSV.encode("utf-16")), TEXT.format("a.csv"), DATA,
        "a.csv is not UTF-8: byte 0 is 0xff; it looks like UTF-16. Save it as UTF-8"),
    Bad("Latin-1", file("a.csv", CSV.replace("thing", "café").encode("latin-1")), TEXT.format("a.csv"), DATA,
        "a.csv is not UTF-8: byte 27 is 0xe9. Save it as UTF-8"),
    Bad("a column without a name that can be written", lines("a.jsonl", {"text": "a", "la\ud800": 1}),
        TEXT.format("a.jsonl"), DATA, "a.jsonl has a column .*whose name is no whole text. Rename it"),
    Bad("a zero byte in a column's name", file("a.csv", "text,la\x00bel\na,b\n"), TEXT.format("a.csv"), DATA,
        r"a.csv has a column 'la\\x00bel', whose name is no whole text"),
    Bad("a long row", file("a.csv", CSV + "one, two, three,four,no,0\n"), TEXT.format("a.csv"), DATA,
        "a.csv, line 14 has 6 values, but the first line names 5 columns.*Quote texts that hold ','"),
    Bad("a short row", file("a.csv", CSV + "one\n"), TEXT.format("a.csv"), DATA, "line 14 has 1 values"),
    Bad("an open quote", file("a.csv", CSV + '"one,no,0\n'), TEXT.format("a.csv"), DATA,
        "a.csv, line 14: unexpected end of data.*written in quotes"),
    Bad("a column twice", file("a.csv", "text,text,label\na,b,c\n"), TEXT.format("a.csv"), DATA,
        "a.csv has more than one column 'text'. Rename one"),
    Bad("broken JSON Lines", file("a.jsonl", '{"text": "a", "label": 1}\n{"text": '), TEXT.format("a.jsonl"),
        DATA, "a.jsonl, line 2 is not JSON: .*column"),
    Bad("lists in JSON Lines", lines("a.jsonl", [1, 2]), TEXT.format("a.jsonl"), DATA,
        "line 1 is a list; each line must be an object, e.g."),
    Bad("types that change", lines("a.jsonl", {"text": "a", "label": 0}, {"text": "b", "label": "x"}),
        TEXT.format("a.jsonl"), DATA, r"Column 'label' of a.jsonl mixes types: 0 \(int\) in row 0 and 'x'"),
    Bad("JSON of another shape", file("a.json", '{"a": 1}'), TEXT.format("a.json"), DATA,
        "a.json must hold a list of objects, or one object with a list for each column"),
    Bad("JSON a thousand lists deep", file("a.json", "[" * 100_000), TEXT.format("a.json"), DATA,
        "a.json cannot be read: it is nested too deep"),
    Bad("a number of 5,000 digits", file("a.jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}"),
        TEXT.format("a.jsonl"), DATA, "a.jsonl, line 1.*number"),
    Bad("columns of other lengths", file("a.json", '{"text": ["a", "b"], "label": [1]}'),
        TEXT.format("a.json"), DATA, "columns of a.json have different lengths: {'text': 2, 'label': 1}"),
    Bad("a cut Parquet file",
        both(table("a.parquet", {"text": ["a"] * 99, "label": ["b"] * 99}),
             lambda folder: (folder / "a.parquet").write_bytes((folder / "a.parquet").read_bytes()[:200])),
        TEXT.format("a.parquet"), DATA, "a.parquet is not a whole Parquet file"),
    Bad("shards with other columns",
        both(file("d/a.csv", "text,label\na,b\n"), file("d/b.csv", "text,class\na,b\n")),
        TEXT.format("./d"), DATA, "Columns differ: a.csv has .*b.csv has .*Give files with the same columns"),
    Bad("a file of no split", both(file("d/train.csv", CSV), file("d/more.csv", CSV)), TEXT.format("./d"),
        DATA,
        "more.csv says no split, but train.csv does. Name every file"),
    Bad("a file of two splits", file("d/train_test.csv", CSV), TEXT.format("./d"), DATA,
        "train_test.csv says two splits.*Rename it"),
    Bad("a stray quote among texts of several lines",
        file("a.tsv", 'text\tlabel\n"a\t0\nb"\t1\n"two\nlines"\t0\n'), TEXT.format("a.tsv"), DATA,
        "a.tsv: a quote opens in lines 2 to 3 and would join them into one row.*Remove it"),
    Bad("a first line among the rows", file("a.csv", CSV + CSV), TEXT.format("a.csv"), DATA,
        "a.csv, line 14 repeats the first line, as when files are joined. Remove it"),
    Bad("no line of names", file("a.tsv", "this is a good film\tpos\na bad one\tneg\n"), TEXT.format("a.tsv"),
        DATA, "No column 'text'.*If the first line is a row already, put a line of names above it"),
    Bad("no line of names, and a value twice", file("a.csv", "1,1,a\n2,3,b\n"), TEXT.format("a.csv"), DATA,
        "more than one column '1'.*if its first line is a row already, put a line of names above it"),
    Bad("a pipe", lambda folder: os.mkfifo(folder / "a.csv"), TEXT.format("a.csv"), DATA,
        "a.csv is a pipe, not a file. Write what comes from it to a file first"),
    Bad("a pipe in a folder", both(file("d/train.csv", CSV), lambda folder: os.mkfifo(folder / "d/test.csv")),
        TEXT.format("./d"), DATA, "test.csv is a pipe, not a file"),
    Bad("a device", nothing, TEXT.format("/dev/zero"), DATA, "/dev/zero is a device, not a file"),
    Bad("a line of CoNLL without a tag", file("a.conll", "Ann B-PER\nsaw\nRome B-LOC\n"),
        WORDS.format("a.conll"), DATA, r"a.conll, line 2 has 1 value \('saw'\).*Give each word its tag"),
    Bad("tasks that nobody annotated", file("a.json", '[{"data": {"text": "a"}, "annotations": []}]'),
        WORDS.format("a.json"), DATA,
        "a.json holds no rows. 1 task of a.json without an annotation left out: task 0"),
    Bad("no such split", file("a.csv", CSV), TEXT.format("a.csv") + " --split dev", DATA,
        "a.csv has no split 'dev'; it has 'train'"),
    Bad("no such test split", file("a.csv", CSV), TEXT.format("a.csv") + " --test_split tset", DATA,
        "a.csv has no split 'tset'; it has 'train'"),
    Bad("a broken save_to_disk folder", file("d/state.json", "{"), TEXT.format("./d"), DATA,
        "d is not a whole save_to_disk folder: .*Save it again"),
    Bad("nothing but empty texts", file("a.csv", "text,label\n ,a\n  ,b\n"), TEXT.format("a.csv"), DATA,
        "No row of a.csv is left. 2 rows with empty text left out: rows 0, 1"),
    Bad("an empty text, strictly", file("a.csv", CSV + ",no,x,2026-01-01,0\n"),
        TEXT.format("a.csv") + " --strict", DATA,
        "1 row with empty text: row 12. Fill them in, or leave strict out"),
    Bad("numbers for texts", lines("a.jsonl", {"text": 1, "label": "a"}, {"text": 2, "label": "b"}),
        TEXT.format("a.jsonl"), DATA, "Column 'text' holds int64, not texts. Pass --input_column"),
    Bad("text for words", lines("a.jsonl", {"tokens": "Ann saw", "ner_tags": ["O"]}), WORDS.format("a.jsonl"),
        DATA, r"Column 'tokens' holds string, not lists of words such as \['New', 'York'\]. Split"),
]  # fmt: skip

COLUMNS = [
    Bad("no input column", file("a.csv", "words,label\na,b\n"), TEXT.format("a.csv"), DATA,
        "No column 'text' in the dataset; it has 'label', 'words'. Pass --input_column NAME"),
    Bad("a mistyped column", file("a.csv", CSV), TEXT.format("a.csv") + " --label_column lable", DATA,
        "No column 'lable' in the dataset; it has .*Pass --label_column label"),
    Bad("no such group", file("a.csv", CSV), TEXT.format("a.csv") + " --group_by patient", DATA,
        "No column 'patient' in the dataset; it has .*Pass --group_by NAME"),
    Bad("an id twice", file("a.csv", CSV), TEXT.format("a.csv") + " --id_column who", DATA,
        "The id 'ann0' in column 'who' is that of row 0 and of row 3; 9 rows repeat.*Ids must be unique"),
    Bad("a row without a group", file("a.csv", CSV + "more,no,,2026-01-01,0\n"),
        TEXT.format("a.csv") + " --group_by who", DATA,
        "1 row without a group in column 'who': row 12 .*Name a group for every row"),
    Bad("a group that is written as missing", file("a.csv", CSV + "more,no,nan,2026-01-01,0\n"),
        TEXT.format("a.csv") + " --group_by who", DATA, "1 row without a group in column 'who': row 12"),
    Bad("one group", file("a.csv", CSV.replace("ann1", "ann0").replace("ann2", "ann0")),
        TEXT.format("a.csv") + " --group_by who", DATA,
        "All 12 rows are in one group, ann0.*Group by another"),
    Bad("fewer groups than folds, strictly", file("a.csv", CSV),
        TEXT.format("a.csv") + " --group_by who --num_folds 4 --strict", DATA,
        "num_folds=4 is too many: there are 3 groups. It must be from 2 to 3"),
    Bad("a row without a time", file("a.csv", CSV + "more,no,x,,0\n"),
        TEXT.format("a.csv") + " --time_by day",
        DATA, "(1 row without a time in column 'day'|neither all numbers nor all ISO dates)"),
    Bad("times of no order", file("a.csv", CSV.replace("2026-01-12", "12/01/2026")),
        TEXT.format("a.csv") + " --time_by day", DATA,
        r"column 'day' are neither all numbers nor all ISO dates.*'12/01/2026'.*Write them"),
    Bad("a row without a fold", file("a.csv", CSV + "more,no,x,2026-01-01,\n"),
        TEXT.format("a.csv") + " --fold_column fold", DATA, "1 row without a fold in column 'fold': row 12"),
    Bad("one predefined fold", file("a.csv", CSV.replace(",1\n", ",0\n")),
        TEXT.format("a.csv") + " --fold_column fold", DATA,
        "All 12 rows are in one predefined fold. Name two or more, or take another scheme"),
]  # fmt: skip

LABELS = [
    Bad("a row without a label", file("a.csv", CSV + "more,,x,2026-01-01,0\n"), TEXT.format("a.csv"), DATA,
        "1 row without a label in column 'label': row 12 .*Label them or leave them out"),
    Bad("a label that is NaN", table("a.parquet", {"text": ["a", "b"], "label": [1.0, float("nan")]}),
        TEXT.format("a.parquet"), DATA, "1 row without a label in column 'label': row 1"),
    Bad("a fraction", lines("a.jsonl", {"text": "a", "label": 0.5}, {"text": "b", "label": 1.0}),
        TEXT.format("a.jsonl"), DATA,
        "Row 0 has the label 0.5 .*and classes are names or whole numbers. Turn amounts"),
    Bad("several labels a row", lines("a.jsonl", {"text": "a", "label": [1, 0]}, {"text": "b",
        "label": [0, 0]}),
        TEXT.format("a.jsonl"), DATA, "are of type list, e.g. .*a class is one text or one whole number"),
    Bad("one class", file("a.csv", CSV.replace(",no,", ",yes,")), TEXT.format("a.csv"), DATA,
        "All 12 rows have the label 'yes' in column 'label'; a classifier needs two classes or more"),
    Bad("a class written in two ways", file("a.csv", CSV + "more,Yes,x,2026-01-01,0\n"), TEXT.format("a.csv"),
        DATA, "Labels 'Yes' and 'yes' in column 'label' differ only in case or spaces. Write them alike"),
    Bad("an id out of range", saved("d", {"text": ["a", "b", "c"], "label": [0, 1, 5]}, "no", "yes"),
        TEXT.format("./d"), DATA,
        "1 row with a label id outside 0 to 1 in column 'label': row 2.*The first is 5"),
    Bad("unlabelled rows", saved("d", {"text": ["a", "b"], "label": [-1, -1]}, "no", "yes"),
        TEXT.format("./d"), DATA, "2 rows with label -1, which means unlabelled.*Take a labelled split"),
    Bad("names in another order for the test",
        lambda folder: DatasetDict({
            split: Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]},
                                     Features({"text": Value("string"), "label": ClassLabel(names=names)}))
            for split, names in (("train", ["no", "yes"]), ("test", ["yes", "no"]))
        }).save_to_disk(str(folder / "d")),
        TEXT.format("./d") + " --test_split test", DATA,
        r"Label names differ: column 'label' has \['no', 'yes'\].*They must be the same, in the same order"),
    Bad("more words than tags", words(["B-PER", "O"]), WORDS.format("a.jsonl"), DATA,
        "Row 0 has 3 words but 2 tags in column 'ner_tags'.*Give one tag for each word"),
    Bad("an entity without a beginning", words(["B-PER", "O", "O"], ["O", "I-PER", "O"]),
        WORDS.format("a.jsonl"), DATA,
        "Row 1, word 1 has the tag 'I-PER' after 'O'.*not IOB2, where.*Write all tags in one scheme"),
    Bad("an entity that is closed twice", words(["S-PER", "E-PER", "O"]), WORDS.format("a.jsonl"), DATA,
        "word 1 has the tag 'E-PER' after 'S-PER'.*not BIOES, where an entity opens with B- or S-"),
    Bad("tags of two schemes", words(["S-PER", "O", "U-LOC"]), WORDS.format("a.jsonl"), DATA,
        r"begin with S, U, which no one scheme has; known are IOB2 \(BI\), BIOES"),
    Bad("parts of speech", words(["NN", "VB", "NN"]), WORDS.format("a.jsonl"), DATA,
        "are not IOB2, nor of a scheme.*: 'NN', 'VB'. Allowed are 'O', 'B-TYPE' and 'I-TYPE'"),
    Bad("a span outside of its text", spans([14, 30, "LOC"]), WORDS.format("a.jsonl"), DATA,
        "Row 0 has a span in column 'label' from 14 to 30, where its text of 18 characters has 'Oslo'"),
    Bad("a span that holds something else", spans({"start": 0, "end": 4, "label": "X", "text": "Oslo"}),
        WORDS.format("a.jsonl"), DATA, "has 'Anna' and not 'Oslo'. Export the text and the spans together"),
    Bad("a span of two labels", spans({"start": 0, "end": 4, "labels": ["X", "Y"]}), WORDS.format("a.jsonl"),
        DATA, r"Row 0 has a span .* with the label \['X', 'Y'\]. Give each span two whole"),
    Bad("tags that are numbers", words([1, 0, 2]), WORDS.format("a.jsonl"), DATA,
        "Tags in column 'ner_tags' are numbers without names.*Write tags as"),
    Bad("no entity at all", words(["O", "O", "O"], ["O", "O", "O"]), WORDS.format("a.jsonl"), DATA,
        "Every tag in column 'ner_tags' is 'O': there is no entity to learn"),
    Bad("a missing word", lines("a.jsonl", {"tokens": ["a", None], "ner_tags": ["O", "B-X"]}),
        WORDS.format("a.jsonl"), DATA, "1 row with a missing word in column 'tokens': row 0"),
]  # fmt: skip

IMAGES = [
    Bad("a page for a picture", picture_folder(a=b"<html>not found</html>"), PICTURES.format("./pics"), DATA,
        r"(?s)1 picture of 6 cannot be read:\s+\S*pics/a/0.png: not a picture of .*on_bad_image"),
    Bad("an empty picture", picture_folder(a=b""), PICTURES.format("./pics"), DATA,
        "0.png: the file is empty"),
    Bad("a cut picture", picture_folder(a=png(60, 60)[:-60]), PICTURES.format("./pics"), DATA,
        "0.png: the file is damaged or cut short"),
    Bad("a picture of 196 million pixels", picture_folder(a=bomb()), PICTURES.format("./pics"), DATA,
        r"0.png: too large \(.*\); at most 89,478,485 pixels are read, so shrink it first"),
    Bad("a HEIC picture", picture_folder(a=b"\x00\x00\x00\x18ftypheic" + bytes(16)),
        PICTURES.format("./pics"), DATA,
        "0.png: (a HEIC picture, which needs pillow-heif: pip install|the file is damaged)"),
    Bad("an AVIF picture that is damaged",
        both(picture_folder(), file("pics/a/x.avif", b"\x00\x00\x00\x1cftypavif")),
        PICTURES.format("./pics"), DATA, "x.avif: (the file is damaged|not a picture of a known format)"),
    Bad("a picture that nothing reads", both(picture_folder(), file("pics/a/x.jxl", b"\xff\x0a")),
        PICTURES.format("./pics"), DATA, "x.jxl: not a picture of a known format"),
    Bad("a pipe for a picture", both(picture_folder(), lambda folder: os.mkfifo(folder / "pics/a/9.png")),
        PICTURES.format("./pics"), DATA, "9.png: it is a pipe, not a file"),
    Bad("a class without pictures", both(picture_folder(), lambda f: (f / "pics" / "c").mkdir()),
        PICTURES.format("./pics"), DATA, "class folder 'c' of pics holds no picture.*Fill it or remove it"),
    Bad("one class folder", file("pics/a/0.png", png()), PICTURES.format("./pics"), DATA,
        "pics has one class folder, 'a'; a classifier needs two classes or more"),
    Bad("no class folder", file("pics/0.png", png()), PICTURES.format("./pics"), DATA,
        "pics holds 1 picture but no class folders. Put the pictures of each class in a folder of its name"),
    Bad("splits for classes", both(file("pics/train/0.png", png()), file("pics/test/0.png", png())),
        PICTURES.format("./pics"), DATA,
        r"The classes of pics would be \['test', 'train'\].*names of splits"),
    Bad("folders in a class", both(picture_folder(), file("pics/a/x/0.png", png())),
        PICTURES.format("./pics"),
        DATA, "'a' in pics holds folders .*which level names the class is not clear"),
    Bad("metadata without names", both(picture_folder(), file("pics/metadata.csv", "label\na\nb\n")),
        PICTURES.format("./pics"), DATA, "metadata.csv has no column 'file_name'; it has"),
    Bad("metadata of a missing picture", metadata("9.png"), PICTURES.format("./pics"), DATA,
        r"9.png: the file cannot be opened \(No such file"),
    Bad("metadata that leaves its folder", metadata("../secret.png"), PICTURES.format("./pics"), DATA,
        "The path '../secret.png' leaves the folder pics; only what is inside it is read"),
    Bad("metadata with an absolute path", metadata("/etc/passwd"), PICTURES.format("./pics"), DATA,
        "The path '/etc/passwd' leaves the folder pics"),
    Bad("metadata with a web address", metadata("https://example.com/x.png"), PICTURES.format("./pics"), DATA,
        "'https://example.com/x.png' is a web address; download the files"),
    Bad("metadata with a zero byte", metadata("a\x00.png"), PICTURES.format("./pics"), DATA,
        r"The path 'a.x00.png' has a zero byte, as no file's name has. Fix the list of files"),
    Bad("a CSV path that leaves its folder", file("a.csv", "image,label\n../x.png,a\ny.png,b\n"),
        PICTURES.format("a.csv"), DATA, "The path '../x.png' leaves the folder"),
    Bad("a path of Windows that leaves its folder", file("a.csv", "image,label\n..\\x.png,a\ny.png,b\n"),
        PICTURES.format("a.csv"), DATA, r"The path '\.\.\\\\x.png' leaves the folder.*pass --allow_outside"),
    Bad("a path on a drive of Windows", file("a.csv", "image,label\nC:\\x\\y.png,a\nz.png,b\n"),
        PICTURES.format("a.csv"), DATA, "is of a drive of Windows, which is not here.* such as 'y.png'"),
    Bad("a list that names a device", file("a.csv", "image,label\n/dev/zero,a\n/dev/null,b\n"),
        PICTURES.format("a.csv") + " --allow_outside", DATA, "/dev/zero: it is a device, not a file"),
    Bad("a picture that is a link to elsewhere", link("pics/a/9.png"), PICTURES.format("./pics"), DATA,
        "a/9.png in pics is a link to .*/secret/0.png, which is outside. Copy the files there"),
    Bad("metadata that names a link", both(metadata("9.png"), link("pics/9.png")), PICTURES.format("./pics"),
        DATA, "9.png in pics is a link to .*/secret/0.png, which is outside"),
    Bad("a class that is a link to elsewhere", link("pics/c", to="secret"), PICTURES.format("./pics"), DATA,
        "c/0.png in pics is a link to .*/secret/0.png, which is outside"),
    Bad("pixels between 0 and 1",
        lines("a.jsonl", *({"pixels": [[0.5, 0.1], [0.2, 0.3]], "label": x} for x in "ab")),
        PICTURES.format("a.jsonl"), DATA,
        "Row 0: 4 pixels of type float64; arrays must hold whole numbers, 0 to"),
    Bad("pixels above 255", lines("a.jsonl", *({"pixels": [[300, 1], [2, 3]], "label": x} for x in "ab")),
        PICTURES.format("a.jsonl"), DATA, "Row 0: pixels from 1 to 300; arrays must hold 0 to 255"),
    Bad("pixels of no shape", lines("a.jsonl", *({"pixels": [1, 2], "label": x} for x in "ab")),
        PICTURES.format("a.jsonl"), DATA, r"Row 0: pixels have the shape \(2,.*are pictures"),
]  # fmt: skip

FOLDS = [
    Bad("one fold", nothing, READY + " --num_folds 1", SETTINGS, "num_folds=1 is too small; use 2 or more"),
    Bad("half a fold", nothing, READY + " --num_folds 2.5", SETTINGS,
        "num_folds='2.5' must be a whole number"),
    Bad("more folds than rows, strictly", nothing, READY + " --num_folds 30 --strict", DATA,
        "num_folds=30 is too many: .*It must be from 2 to"),
    Bad("a class rarer than the folds, strictly", file("a.csv", CSV + "a,maybe,x,2026-01-01,0\n" * 2),
        TEXT.format("a.csv") + " --num_folds 3 --strict", DATA,
        "num_folds=3 is too many: class 'maybe' has 2 rows. It must be from 2 to 2"),
    Bad("a row for each class", file("a.csv", "text,label\n" + "".join(f"t{i},c{i}\n" for i in range(9))),
        TEXT.format("a.csv"), DATA, "Each of the 9 classes has one row, .*Give two rows or more of each"),
    Bad("a scheme without its column", nothing, READY + " --scheme group", SETTINGS,
        "scheme='group' needs group_by; give the column's name"),
    Bad("groups and times", nothing, READY + " --group_by a --time_by b", SETTINGS,
        "group_by and time_by cannot be used together; leave one out"),
    Bad("a gap that leaves nothing", file("a.csv", CSV), TEXT.format("a.csv") + " --time_by day --gap 50",
        DATA,
        "Fold 0 has no rows to train on: gap=50 .*Lower gap, change num_folds"),
    Bad("a gap without times", nothing, READY + " --gap 2", SETTINGS, "gap=2 needs time_by"),
]  # fmt: skip

MODELS = [
    Bad("no such model", nothing, f"{MODEL} me/bert", SETTINGS,
        "base_model='me/bert' is neither a local folder nor reachable on the Hub.*Give a Hub id"),
    Bad("no such folder for a model", nothing, f"{MODEL} ./bert", SETTINGS,
        "base_model='./bert': no such folder .*bert"),
    Bad("no such built-in model", nothing, f"{MODEL} builtin:bert", SETTINGS,
        "no built-in model 'bert'.*builtin:tiny-bert"),
    Bad("no model", nothing, f"{MODEL}=", SETTINGS, "No base_model is given. Give a Hub id"),
    Bad("a folder that is no model's", file("bert/a.txt", ""), f"{MODEL} ./bert", SETTINGS,
        "bert holds no config.json"),
    Bad("a broken config.json", file("bert/config.json", '{"model_type":'), f"{MODEL} ./bert", SETTINGS,
        "base_model='./bert': config.json cannot be used"),
    Bad("a config.json of an unknown kind", file("bert/config.json", '{"model_type": "nonesuch"}'),
        f"{MODEL} ./bert", SETTINGS, "base_model='./bert': its configuration is not usable.*nonesuch"),
    Bad("modules of a sentence encoder that are none",
        both(copied("tiny-bert", "bert"), file("bert/modules.json", "[3]")),
        f"{MODEL} ./bert", SETTINGS, "does not say how its tokens are pooled: .*or give --pooling first"),
    Bad("a picture model for texts", nothing, f"{MODEL} builtin:digits-resnet", SETTINGS,
        r"'builtin:digits-resnet' is a model of pictures .* this task needs one of texts\. Take one such as"),
    Bad("a text model for pictures", nothing, READY_PICTURES + " --base_model builtin:tiny-bert", SETTINGS,
        r"'builtin:tiny-bert' is a model of texts .bert., and this task needs one of pictures\. Take one"),
    Bad("a picture processor of another size", sized_vit(48),
        READY_PICTURES + " --base_model ./vit --from_scratch", SETTINGS,
        r"cannot read a first batch of this data: Input image size .48\*48. .*save matching ones together"),
    Bad("a model called like a command", nothing, f"{MODEL} ;touch${{IFS}}pwned", SETTINGS,
        "base_model=';touch.*' is neither a local folder nor reachable on the Hub"),
    Bad("weights that run code", poisoned, f"{MODEL} ./bert", SETTINGS,
        "its weights are a pickle of more than numbers.*Take a model with .safetensors"),
    Bad("weights that are damaged",
        both(small_model(), file("bert/model.safetensors", b"\x10" + bytes(7) + b"{")),
        f"{MODEL} ./bert", SETTINGS, "cannot be built as .*header.*Give a whole checkpoint"),
    Bad("a model with code of its own",
        both(small_model(model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
        file("bert/mine.py", CODE)),
        f"{MODEL} ./bert", SETTINGS,
        "it comes with Python code of its own, which is not run.*add --trust_remote_code"),
    Bad("a model with attention from the Hub", small_model(attn_implementation="kernels-community/flash"),
        f"{MODEL} ./bert", SETTINGS,
        "asks in its config.json for .*kernels-community/flash.*Take that line out"),
    Bad("no such timm architecture", nothing, READY_PICTURES + " --base_model timm:resnett18", SETTINGS,
        "timm has no architecture 'resnett18'. Near it"),
    Bad("no such timm weights", nothing, READY_PICTURES + " --base_model timm:resnet18@x.safetensors",
        SETTINGS,
        "x.safetensors does not exist. Give a .safetensors file"),
    Bad("timm weights that are a pickle", file("x.bin", b"\x80\x02."),
        READY_PICTURES + " --base_model timm:resnet18@x.bin", SETTINGS,
        "x.bin is not of safetensors, which alone cannot run code. Give a .safetensors file"),
    Bad("timm weights that are damaged", file("x.safetensors", b"\xff" * 40),
        READY_PICTURES + " --base_model timm:resnet18@x.safetensors", SETTINGS,
        "base_model='timm:resnet18@x.safetensors' cannot be built as .*header"),
    Bad("more tokens than the model reads", nothing, READY + " --max_length 9999", SETTINGS,
        "max_length=9999 is more than the 128 tokens that 'builtin:tiny-bert' can read"),
    Bad("more new blocks than there are", nothing, READY_PICTURES + " --reinit_top 9", SETTINGS,
        "reinit_top=9 is more than the . blocks of 'builtin:digits-resnet'"),
]  # fmt: skip

LAYERS = [
    Bad("no such layers", nothing, READY + " --trainable encodr.*", SETTINGS,
        "trainable='encodr.*': 'encodr.*' matches no layers. Use 'all', 'head'.*groups are stem"),
    Bad("more blocks than there are", nothing, READY + " --trainable last:9", SETTINGS,
        "trainable='last:9' asks for more blocks than there are.*N from 0 to 2"),
    Bad("blocks that are no number", nothing, READY + " --trainable last:few", SETTINGS,
        "trainable='last:few' is not a number of blocks"),
    Bad("no such module", nothing, READY + " --trainable from:nowhere", SETTINGS,
        "no group or module is called 'nowhere'"),
    Bad("a broken pattern", nothing, READY + " --trainable re:(", SETTINGS,
        r"'re:\(' is not a regular expression"),
    Bad("nothing left to learn", nothing, READY + " --trainable -*", SETTINGS,
        r"trainable='-\*' leaves nothing to learn. Use"),
    Bad("a broken choice among several", nothing, READY + " --trainables head,last:9", SETTINGS,
        "trainable='last:9' asks for more blocks"),
    Bad("layers of an unknown model", nothing, "layers builtin:none", SETTINGS, "no built-in model 'none'"),
]  # fmt: skip

CONFIGURATION = [
    Bad("an unknown setting", nothing, READY + " --learnig_rate 1", SETTINGS,
        "Unknown setting 'learnig_rate' in the command line. Did you mean 'learning_rate'"),
    Bad("an unknown setting in a file", file("a.yaml", "learnig_rate: 1"), "run sentiment a.yaml", SETTINGS,
        "Unknown setting 'learnig_rate' in a.yaml. Did you mean 'learning_rate'"),
    Bad("no such settings file", nothing, "run sentiment a.yaml", SETTINGS,
        "No such settings file: .*a.yaml"),
    Bad("settings that are no YAML", file("a.yaml", "a: ["), "run sentiment a.yaml", SETTINGS,
        "a.yaml is not readable as YAML: .*line"),
    Bad("settings that are a list", file("a.yaml", "- a"), "run sentiment a.yaml", SETTINGS,
        "a.yaml must hold 'setting: value' lines, not a list"),
    Bad("settings with an object of Python", file("a.yaml", "seed: !!python/object/apply:os.getpid []"),
        "run sentiment a.yaml", SETTINGS,
        "a.yaml is not readable as YAML: could not determine a constructor"),
    Bad("settings that refer to themselves a billion times",
        file("a.yaml", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)) + "trainable: *a11\n"),
        "run sentiment a.yaml", SETTINGS,
        "a.yaml is not readable as YAML: the alias .a0 stands for too much: write the value out"),
    Bad("settings a thousand lists deep", file("a.yaml", "a: " + "[" * 5000), "run sentiment a.yaml",
        SETTINGS,
        "a.yaml is not readable as YAML: .*nested too deep"),
    Bad("a mapping for a number", file("a.yaml", "seed: {a: 1}"), "run sentiment a.yaml", SETTINGS,
        "seed={'a': 1} must be a single value, or a list of single values"),
    Bad("a mapping for a name", file("a.yaml", "dataset: {a: 1}"), "run sentiment a.yaml", SETTINGS,
        "dataset={'a': 1} must be a single value, or a list"),
    Bad("no rate", nothing, READY + " --lr 0", SETTINGS, "learning_rate=0.0 must be above 0"),
    Bad("a rate that is no number", nothing, READY + " --lr fast", SETTINGS,
        "learning_rate='fast' must be a number"),
    Bad("no epoch", nothing, READY + " --epochs 0", SETTINGS, "num_epochs=0 is too small; use 1 or more"),
    Bad("a seed below 0", nothing, READY + " --seed=-1", SETTINGS, "seed=-1 must be from 0 to 4294967295"),
    Bad("an unknown choice", nothing, READY + " --scheduler steps", SETTINGS,
        "scheduler='steps' is not one of linear, cosine, constant"),
    Bad("an infinite number", nothing, READY + " --weight_decay inf", SETTINGS,
        "weight_decay='inf' must be a finite number"),
    Bad("several wrong at once", nothing, READY + " --epochs 0 --seed=-1", SETTINGS,
        r"(?s)num_epochs=0 is too small.*seed=-1 must be"),
    Bad("a licence in other letters", nothing, READY + " --license Apache-2.0", SETTINGS,
        "'Apache-2.0' is no licence identifier of the Hub. Did you mean 'apache-2.0'?.*or other"),
    Bad("an unknown deciding score", nothing, READY + " --metric_for_best_model acuracy", SETTINGS,
        "'acuracy' is no score of this task. Did you mean 'accuracy'.*Use one of accuracy, balanced_acc"),
    Bad("a solver without a head", nothing, READY + " --head_solver ridge", SETTINGS,
        "head_solver='ridge' needs trainable='head', not 'all'"),
    Bad("a rate for a solver", nothing, READY + " --trainable head --head_solver lbfgs --lr 1e-3", SETTINGS,
        r"head_solver='lbfgs' has no rate \(weight_decay is its L2\); leave learning_rate out"),
    Bad("an output folder that is a file", file("out", "mine"), READY, SETTINGS,
        "output_dir='out' is a file. Give a folder"),
    Bad("an output folder of other files", file("out/mine.txt", "mine"), READY, SETTINGS,
        "output_dir='out' holds files that are no run's. Give an empty folder"),
    Bad("an unknown recipe", nothing, "run sentimant", SETTINGS,
        "There is no recipe 'sentimant'. Did you mean 'sentiment'"),
    Bad("an unknown verb", nothing, "trian sentiment", SETTINGS, "(?i)invalid choice: 'trian'.*--help"),
    Bad("a metric of the Hub without a network", nothing, READY + " --metrics glue", HUB,
        "The metric 'glue' could not be fetched: .*need no network"),
]  # fmt: skip

REPOSITORIES = [
    *(
        Bad(f"the repository {name!r}", nothing, f"{READY} --push_to_hub {name}", SETTINGS,
            f"'{re.escape(name)}' is not a repository to push to. Write user/name")
        for name in ("reviews", "me/a/b", "me/..", "me/-x", "me/x.git", "../../x",
        "https://huggingface.co/me/x")
    ),
    Bad("no token to push with", nothing, READY + " --push_to_hub me/reviews", HUB,
        "(?s)There is no Hub token. Log in with .*Nothing has been computed yet"),
    Bad("a push of nothing", nothing, "push nowhere me/reviews", HUB,
        "(?s)nowhere holds no results.json.*Nothing is lost"),
    Bad("a verification of nothing", nothing, "verify nowhere", SETTINGS, "holds no finished run"),
]  # fmt: skip

RUNS = [
    Bad("a verification of what another verb left", file("out/shift.json", "{}"), "verify out", SETTINGS,
        "holds no finished run, only what another verb left: shift.json. Give the folder of a run"),
    Bad("a card of nothing", nothing, "card nowhere", SETTINGS, "holds no finished run. Run a recipe first"),
    Bad("a report of nothing", nothing, "report nowhere", SETTINGS, "the folder holds no finished run"),
    Bad("a prediction by nothing", nothing, "predict nowhere text", SETTINGS, "holds no finished run"),
    Bad("a comparison with nothing", finished(), "compare run nowhere", SETTINGS, "holds no finished run"),
    Bad("a comparison of other folds", both(finished(), finished("other", seed=1)), "compare run other",
        SETTINGS, "scored on different folds .*Run one again"),
    Bad("results that are no JSON", both(finished(), file("run/results.json", "{")), "card run", SETTINGS,
        "results.json is not readable as JSON.*Run the recipe again"),
    Bad("results that are no object", both(finished(), file("run/results.json", "[]")), "report run",
        SETTINGS,
        "results.json is not as a run writes it: it is a list of 0, not an object. Run the recipe again"),
    Bad("results that lack a part", finished(change=lambda r: r.pop("folds")), "card run", SETTINGS,
        "results.json is not as a run writes it: it lacks 'folds'. Run the recipe again"),
    Bad("results with a word for a number",
        finished(change=lambda r: r["folds"][0]["scores"].update(f1_macro="x")),
        "compare run run", SETTINGS,
        r"folds\[0\].scores.f1_macro is 'x', not a number or null. Run the recipe"),
    Bad("a fold without its number", finished(change=lambda r: r["folds"][1].pop("fold")), "report run",
        SETTINGS,
        r"results.json is not as a run writes it: folds.1. lacks 'fold'. Run the recipe again"),
    Bad("predictions that are cut", both(finished(), file("run/predictions.parquet", b"PAR1")),
        "compare run run",
        SETTINGS, "predictions.parquet is not a whole Parquet file"),
    Bad("predictions without a column",
        both(finished(), table("run/predictions.parquet", {"row_id": [1]})),
        "report run", SETTINGS,
        "predictions.parquet lacks 'repeat', 'fold'; it has row_id. Run the recipe again"),
    Bad("a history that is no JSON", both(finished(), file("run/folds/r0f1/history.jsonl", "{")),
        "report run",
        SETTINGS, "history.jsonl, line 1 is not JSON"),
    Bad("a report of a run that did not train", finished(change=lambda r: r.update(task="sorting")),
        "card run",
        SETTINGS, "no model card for the task 'sorting'"),
    Bad("a card whose marks are broken",
        both(finished(), file("run/README.md", "<!-- hf-transfer:begin x -->\n")), "card run", DATA,
        "README.md that is there cannot be brought up to date.*Fix it, or move it away"),
    Bad("a card that is not UTF-8", both(finished(), file("run/README.md", b"\xff\xfe")), "card run", DATA,
        "README.md that is there cannot be brought up to date"),
    Bad("a prediction without a model", finished(change=lambda r: r["final"].update(path=None)),
        "predict run text", SETTINGS, "run kept no final model .*Run it again with --final refit"),
    Bad("a prediction by a model that is gone", finished(), "predict run text", SETTINGS,
        "base_model='run/model': .*run/model holds no config.json"),
    Bad("a threshold for three classes", finished(label_names=("a", "b", "c")),
        "predict run text --threshold f1", SETTINGS, "threshold decides between two classes, and run has 3"),
    Bad("a prediction for no picture", finished(task="image-classification"), "predict run nowhere.png", DATA,
        "No such picture or folder: .*nowhere.png"),
    Bad("a prediction for an unreadable file", both(finished(), file("a.txt", b"\xff\xfe")),
        "predict run a.txt", DATA, "a.txt is not UTF-8"),
    Bad("a prediction into a file of no known kind", finished(),
        "predict run text --output out.txt", SETTINGS,
        "--output 'out.txt' must end in one of .csv, .jsonl, .parquet"),
    Bad("a prediction into a folder", both(finished(), file("a.csv/x", "")),
        "predict run text --output a.csv", SETTINGS, "--output a.csv is a folder. Give the path of a file"),
    Bad("a score of nothing", nothing, "score nowhere builtin:reviews", SETTINGS, "holds no finished run"),
    Bad("a score of a repository", nothing, "score me/reviews builtin:reviews", SETTINGS,
        "me/reviews is on the Hub, .*Download it first: hf download me/reviews --local-dir reviews"),
    Bad("a score without a model", finished(change=lambda r: r["final"].update(path=None)),
        "score run builtin:reviews", SETTINGS, "run kept no final model .*Run it again with --final refit"),
    Bad("a score on no rows", finished(), "score run nowhere.csv", DATA, "No such file.*nowhere.csv"),
    Bad("an export of nothing", nothing, "export nowhere --onnx", SETTINGS, "holds no finished run"),
    Bad("an export without a model", finished(change=lambda r: r["final"].update(path=None)),
        "export run --onnx", SETTINGS, "run kept no final model .*Run it again with --final refit"),
    Bad("an export into nothing", finished(), "export run", SETTINGS, "(?i)required: --onnx"),
    Bad("a comparison that was never begun", nothing, "compare", SETTINGS, "(?i)required: RUN"),
]  # fmt: skip

OTHER_VERBS = [
    Bad("CoNLL-U without entities", file("a.conllu", "1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_\n"),
        WORDS.format("a.conllu"), DATA, "a.conllu is CoNLL-U without entities"),
    Bad("a size of pictures for texts", nothing, READY + " --image_size 64", SETTINGS,
        "image_size=64: texts have no such setting"),
    Bad("a size of pictures that a model cannot take", nothing,
        "run image_classification --base_model timm:levit_128s --dataset builtin:digits_5to9 --max_rows 20 "
        "--image_size 64 --output_dir out", SETTINGS, "image_size=64: .*takes pictures of one size only"),
    Bad("an inspection of nothing", nothing, "inspect nowhere.csv", DATA, "No such file or folder"),
    Bad("an inspection of no kind", file("a.csv", "x,y\n1,2\n3,4\n"), "inspect a.csv", DATA,
        "(?s)opens as no kind of input.*as text: .*No column"),
    Bad("an inspection of sentences that lack a tag", file("a.conll", "Anna B-PER\nsaw\n"), "inspect a.conll",
        DATA, "^DataError: a.conll, line 2 has 1 value"),
    Bad("an inspection of pictures without classes", file("d/a.png", png()), "inspect d", DATA,
        "opens as no kind of input.\nas image: "),
    Bad("an inspection of texts without labels", file("t.csv", "x,y\n1,2\n3,4\n"), "inspect t.csv", DATA,
        "(?s)opens as no kind of input.*as image: [^\n]*$"),
    Bad("an inspection of one class", file("a.csv", "text,label\nfine,good\nnice,good\n"),
        "inspect a.csv", DATA, "^DataError: All 2 rows have the label 'good'"),
    Bad("an inspection of texts some of which lack a label", file("a.csv", "text,label\nfine,good\nbad,\n"),
        "inspect a.csv", DATA, "^DataError: 1 row without a label"),
    Bad("an inspection of an empty file", file("a.csv", ""), "inspect a.csv", DATA,
        "^DataError: a.csv holds no rows[^\n]*$"),
    Bad("a ranking of no model", nothing, "rank builtin:reviews builtin:none --max_rows 20 --output_dir out",
        SETTINGS, "no built-in model 'none'"),
    Bad("a search without a recipe", nothing, "search sentimant", SETTINGS, "Did you mean 'sentiment'"),
    Bad("a search for no time", nothing,
        READY.replace("run", "search", 1) + " --max_hours -1", SETTINGS,
        "max_hours=-1.0 must be above 0, such as 0.5"),
]  # fmt: skip

# A folder below a file can't be made, which is told before features are computed.
_DIGITS = "builtin:digits_5to9 --base_model builtin:digits-resnet --max_rows 20"
BELOW_A_FILE = {
    "run": READY.replace(" out", " mine/out"),
    "shift": f"shift builtin:digits_5to9 {_DIGITS} --output_dir mine/out",
    "adapt": f"adapt builtin:digits_5to9 {_DIGITS} --output_dir mine/out",
    "shots": f"shots {_DIGITS} --output_dir mine/out",
    "combine": f"combine {_DIGITS.replace('--base_model', 'builtin:none')} --output_dir mine/out",
    "rank": "rank builtin:digits_5to9 builtin:none --output_dir mine/out",
    "pretrain": f"pretrain {_DIGITS} --output_dir mine/out",
    "features": f"features {_DIGITS} --shard 0/1 --output_dir mine/out",
}
PLACES = [
    Bad(f"an output folder of {verb} that can't be made", file("mine", "mine"), command, SETTINGS,
        r"output_dir='mine/out' cannot be made \(Not a directory\)\. Give another folder")
    for verb, command in BELOW_A_FILE.items()
] + [
    Bad("a prediction into a folder that can't be made", both(finished(), file("mine", "mine")),
        "predict run text --output mine/out/a.csv", SETTINGS, "folder of --output=.mine/out. cannot be made"),
    Bad("an output folder of too long a name", nothing, READY.replace(" out", f" {300 * 'a'}"), 4,
        r"File name too long.*Give a shorter name"),
]  # fmt: skip

BAD_INPUTS = [
    *DATA_FILES, *COLUMNS, *LABELS, *IMAGES, *FOLDS, *MODELS, *LAYERS, *CONFIGURATION, *REPOSITORIES, *RUNS,
    *OTHER_VERBS, *PLACES,
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_bad_input_is_told_before_anything_is_trained(bad, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bad.make(tmp_path)
    before = _content(tmp_path)
    code = main(bad.command.split())
    shown = capsys.readouterr()
    assert re.search(bad.message, shown.err), shown.err
    assert code == bad.code
    assert "Traceback" not in shown.err
    assert _content(tmp_path) == before


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_names_each_case_once():
    names = [bad.name for bad in BAD_INPUTS]
    assert len(set(names)) == len(names) >= 90
