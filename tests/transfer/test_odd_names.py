"""Names of labels, columns and files with a line end stay on their line, whichever verb tells them."""

import json

import pytest

from hf_transfer.cli.main import main
from hf_transfer.errors import DataError
from hf_transfer.transfer.shots import shots

ODD = "odd\nname"


def rows(path, counts):
    lines = [
        {"text": f"{label} {i} words", "label": label}
        for label, number in counts.items()
        for i in range(number)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_shots_quotes_the_class_that_is_too_small(tmp_path):
    data = rows(tmp_path / "rows.jsonl", {ODD: 2, "plain": 9})
    with pytest.raises(DataError, match=r"class 'odd\\nname' has 2 rows, and 4 of each class"):
        shots(data, "builtin:tiny-bert", shots=(4,), output_dir=str(tmp_path / "out"), max_length=8)


def test_a_file_is_told_by_a_name_without_line_ends(tmp_path, capsys):
    data = rows(tmp_path / f"{ODD}.jsonl", {"a": 5, "b": 5})
    assert main(["inspect", data]) == 0
    said = capsys.readouterr().out
    assert r"odd\nname.jsonl" in said
    assert "odd\nname" not in said
