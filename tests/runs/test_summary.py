import html
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_run import Shape, class_scores, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.runs import summary as tables

TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.text("<>&|`*_[]()#~$\\ \n-a1.!", max_size=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    return folder, make_run(folder, shape=Shape(num_rows=60))


def rendered(markdown: str) -> str:
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    return str(parser.render(markdown))


def text_of(fragment: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", fragment))


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_any_text_stays_one_cell_of_a_table(text: str) -> None:
    page = rendered(f"| a | b |\n|---|---|\n| {tables.escape(text)} | next |\n")
    cells = page.split("<td>")[1:]
    assert [text_of(cell.split("</td>")[0]) for cell in cells] == [tables.one_line(text), "next"]
    assert "<" not in cells[0].split("</td>")[0]


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_any_text_can_be_code_within_a_line(text: str) -> None:
    page = rendered(f"before {tables.code(text)} after")
    assert page.count("<code>") == 1
    assert text_of(page).strip() == f"before {tables.one_line(text) or '(empty)'} after"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("`~<!- abfhrstn:gidex\\>", max_size=12), max_size=4))
def test_any_lines_can_be_a_block_of_code(lines: list[str]) -> None:
    page = rendered(f"{tables.fence(chr(10).join(lines), 'sh')}\n\nafter\n")
    assert page.startswith('<pre><code class="language-sh">')
    assert page.endswith("</code></pre>\n<p>after</p>\n")


def test_a_section_mark_in_a_command_is_disarmed() -> None:
    assert "<!-- hf-transfer:end" not in tables.fence("x '\n<!-- hf-transfer:end run -->\n'")


def test_nothing_undefined_is_printed_as_none_or_nan() -> None:
    values = [tables.number(None), tables.number(math.nan), tables.escape(None), tables.plus_minus(None)]
    assert [str(value) for value in values] == ["n/a"] * 4


@pytest.mark.parametrize(
    ("given_text", "public"),
    [
        ("--dataset /home/ann/data/x.csv", "--dataset ~/data/x.csv"),
        ("--dataset=/Users/ann/x", "--dataset=~/x"),
        ("/root/x and /rooted/x and /data/root/x", "~/x and /rooted/x and /data/root/x"),
        (f"HF_TOKEN=hf_{'a' * 34}", "HF_TOKEN=hf_…"),
        ("abc\u202ecba", "abc\ufffdcba"),
    ],
)
def test_homes_tokens_and_hidden_direction_marks_are_not_published(given_text: str, public: str) -> None:
    assert tables.fence(given_text) == f"```\n{public}\n```"


def test_a_link_is_made_only_for_what_is_on_the_hub() -> None:
    assert tables.link("me/data", "datasets/", True) == "[me/data](https://huggingface.co/datasets/me/data)"
    assert tables.link("/srv/secret/reviews.csv", "datasets/", False) == "`reviews.csv`"
    assert tables.link("timm:resnet18@/srv/w.safetensors", "", False) == "`timm:resnet18@w.safetensors`"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "n/a"),
        (3.21, "3.2 s"),
        (99.9, "99.9 s"),
        (99.96, "1 min 40 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_times_are_written_for_people(seconds: float | None, text: str) -> None:
    assert tables.duration(seconds) == text


def test_the_primary_metric_is_shown_first_and_each_once(run: tuple[Path, dict[str, Any]]) -> None:
    results = run[1] | {"primary_metric": "log_loss"}
    assert tables.shown_metrics(results) == ["log_loss", "accuracy", "f1_macro", "balanced_accuracy"]
    assert sorted(tables.shown_metrics(results, None)) == sorted(results["scores"])


def test_the_summary_has_the_numbers_of_the_predictions(run: tuple[Path, dict[str, Any]]) -> None:
    lines = tables.summary_text(run[1]).splitlines()
    rows = pd.read_parquet(run[0] / "predictions.parquet")
    by_fold = [class_scores(rows[rows.fold == fold])["f1_macro"] for fold in range(5)]
    assert lines[0].split()[:2] == ["fold", "f1_macro"]
    assert [line.split()[:2] for line in lines[1:6]] == [
        [f"r0f{fold}", f"{score:.3f}"] for fold, score in enumerate(by_fold)
    ]
    mean, std = pd.Series(by_fold).mean(), pd.Series(by_fold).std()
    low, high = run[1]["scores"]["f1_macro"]["interval"]
    (line,) = [line for line in lines[6:] if line.startswith("f1_macro ")]
    assert line.split() == [
        "f1_macro",
        f"{mean:.3f}",
        "±",
        f"{std:.3f}",
        f"{low:.3f}",
        "to",
        f"{high:.3f}",
        *("{:.3f} to {:.3f}".format(*run[1]["scores"]["f1_macro"]["conservative_interval"]).split()),
        "5",
    ]
    assert lines[-1].startswith("14,768,642 of 124,647,170 parameters trained (last:2) in 67.5 s on cpu")


def test_the_summary_says_which_interval_is_which(run: tuple[Path, dict[str, Any]]) -> None:
    text = tables.summary_text(run[1])
    assert "optimistic: bootstrap over out-of-fold rows, within folds; the models as they are\n" in text
    assert "conservative: corrected t over folds; other training sets too (quote both)\n" in text
    assert (
        "of the procedure with 48 training rows: k = 5 folds, r = 1 repeat, n = 60 rows, drawn by row, "
        "configurations tried: 1\n" in text
    )
    score = run[1]["scores"]["f1_macro"] | {"headline": "conservative"}
    often = run[1] | {"scores": {"f1_macro": score}, "num_repeats": 3}
    assert "training sets too (the one to quote)" in tables.summary_text(often)


def test_the_summary_of_an_earlier_version_has_one_interval(run: tuple[Path, dict[str, Any]]) -> None:
    old = {
        name: {key: value for key, value in score.items() if key not in {"conservative_interval", "headline"}}
        for name, score in run[1]["scores"].items()
    }
    text = tables.summary_text(run[1] | {"scores": old})
    assert "interval: bootstrap over out-of-fold rows, within folds\n" in text
    assert "conservative" not in text


def test_a_grid_is_set_beside_its_best(run: tuple[Path, dict[str, Any]]) -> None:
    entry = {"learning_rate": 0.1, "weight_decay": 0.0, "best": True, "scores": run[1]["scores"], "bbc": 0.75}
    other = entry | {"learning_rate": 0.2, "best": False, "behind": 0.0625, "p_holm": 0.5, "bbc": None}
    lines = tables.summary_text(run[1] | {"grid": [entry, other]}).splitlines()
    (first,) = [line.split() for line in lines if line.split()[:1] == ["0.1"]]
    (second,) = [line.split() for line in lines if line.split()[:1] == ["0.2"]]
    assert first[-3:] == ["-", "-", "best"]
    assert second[-2:] == ["0.062", "0.500"]
    assert any(line.endswith("Corrected for the choice: f1_macro 0.750.") for line in lines)
    new = {"behind", "p_holm", "bbc"}
    old = [{key: one[key] for key in one if key not in new} for one in (entry, other)]
    assert "Corrected" not in tables.summary_text(run[1] | {"grid": old})


def test_the_summary_tells_failed_folds_and_test_scores(tmp_path: Path) -> None:
    results = make_run(tmp_path, shape=Shape(num_rows=60, failed=(1,)))
    results["test"] = {"num_rows": 9, "scores": {"f1_macro": 0.8125}}
    text = tables.summary_text(results)
    assert "r0f1 failed: OutOfMemoryError: tried to take 2 GiB" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("f1_macro ")] == ["0.812"]


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    rows = [["name", "n", "note"], ["a", "5", "short"], ["bcd", "1,234", "longer one"]]
    assert tables.aligned(rows) == "name      n  note\na         5  short\nbcd   1,234  longer one"


@pytest.mark.parametrize(
    ("p", "written"), [(0.02345, "0.023"), (0.5, "0.5"), (0.0002, "below 0.001"), (1.0, "1"), (None, "n/a")]
)
def test_p_values_have_two_digits_and_no_false_exactness(p: float | None, written: str) -> None:
    assert tables.probability(p) == written


def test_a_configuration_is_named_by_the_settings_that_vary() -> None:
    grid = [
        {"learning_rate": rate, "weight_decay": 0.1, "trainable": spec, "p": rate, "scores": {}}
        for rate, spec in ((1e-3, "head"), (1e-2, "last:2"))
    ]
    assert tables.varying_settings(grid) == ["learning_rate", "trainable"]
    assert tables.configuration_name(grid[1], grid) == "learning_rate=0.01, trainable=last:2"
    assert tables.configuration_name(grid[0], grid[:1]) == "learning_rate=0.001"


def test_a_number_that_rounds_to_nothing_has_no_sign() -> None:
    assert (tables.number(-0.0001), tables.number(-0.0006)) == ("0.000", "-0.001")
