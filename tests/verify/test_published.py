import re

import pytest
from small_runs import edit, wrong

from hf_transfer import write_card


def rewrite(run, old, new):
    path = run / "README.md"
    text, count = re.subn(old, new, path.read_text(encoding="utf-8"), count=1, flags=re.M | re.S)
    assert count, f"{old} is not in the card"
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        (
            "text",
            r"^\| fold 2 \| (\S+) ",
            "| fold 2 | 0.999 ",
            r"README\.md, scores: written '\| fold 2 \| 0\.999 ",
        ),
        (
            "text",
            r"\*\*accuracy: \S+",
            "**accuracy: 0.999",
            r"README\.md, summary: written '\*\*accuracy: 0\.999",
        ),
        (
            "text",
            r"value: 0\.\d+",
            "value: 0.999",
            r"header, model-index: written ' +value: 0\.999', recomputed",
        ),
        (
            "text",
            r"(begin layers -->\n)",
            r"\1It is the best model.\n",
            r"layers: written 'It is the .*recomputed no",
        ),
        ("text", r"fingerprint `\w+`", "fingerprint `0`", r"README\.md, split: written .*fingerprint `0`"),
        ("words", r"^\| ORG \|.*?\n", "", r"README\.md, classes: written nothing, recomputed '\| ORG \|"),
        (
            "grid",
            r" \| \*\*best\*\* \|",
            " | |",
            r"README\.md, grid: written '.*', recomputed '.*\*\*best\*\*",
        ),
        (
            "text",
            r"(^<!-- hf-transfer:end) scores -->",
            r"\1 other -->",
            r"^card: .* cannot be brought up to date",
        ),
    ],
)
def test_an_altered_line_of_the_card_is_named(copy_of, kind, old, new, words):
    run = copy_of(kind)
    rewrite(run, old, new)
    assert re.search(words, wrong(run), re.M), wrong(run)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"\Z", "\n## My notes\n\nAccuracy 0.999 on my desk.\n"),
        (r"^(tags:\n)", r"license: mit\nlanguage: en\n\1- mine\n"),
        (r"^<!-- hf-transfer:begin layers -->.*end layers -->\n\n", ""),
        (r"\n", "\r\n"),
    ],
    ids=["text of their own", "keys of the header", "a section taken out", "one line end of Windows"],
)
def test_what_a_person_wrote_into_the_card_passes(copy_of, old, new):
    run = copy_of("text")
    rewrite(run, old, new)
    assert wrong(run) == ""


def test_a_picture_that_the_card_shows_and_is_not_there_is_told(copy_of):
    run = copy_of("text")
    (run / "plots" / "folds.png").unlink()
    assert re.search(r"README\.md, scores: written '!\[.*plots/folds\.png\)', recomputed nothing", wrong(run))


def test_a_card_of_another_version_says_so(copy_of):
    run = copy_of("text")
    edit(run, lambda results: results.update(kit_version="0.0.9"))
    assert "README.md was written by version 0.0.9 of the kit" in wrong(run)
    write_card(run)
    assert wrong(run) == ""


def test_the_card_says_how_it_is_verified(runs):
    text = (runs("text") / "README.md").read_text(encoding="utf-8")
    assert "The held-out rows of each fold were scored once: `results.json` says when" in text
    assert "`hf-transfer verify`" in text
