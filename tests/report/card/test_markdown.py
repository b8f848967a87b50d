import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.machine.secrets import one_line
from hf_transfer.report.card.markdown import code, escape, fence, link

TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.text("<>&|`*_[]()#~$\\ \n-a1.!", max_size=20)


def rendered(markdown: str) -> str:
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    return str(parser.render(markdown))


def text_of(fragment: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", fragment))


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_any_text_stays_one_cell_of_a_table(text: str) -> None:
    page = rendered(f"| a | b |\n|---|---|\n| {escape(text)} | next |\n")
    cells = page.split("<td>")[1:]
    assert [text_of(cell.split("</td>")[0]) for cell in cells] == [one_line(text), "next"]
    assert "<" not in cells[0].split("</td>")[0]


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_any_text_can_be_code_within_a_line(text: str) -> None:
    page = rendered(f"before {code(text)} after")
    assert page.count("<code>") == 1
    assert text_of(page).strip() == f"before {one_line(text) or '(empty)'} after"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("`~<!- abfhrstn:gidex\\>", max_size=12), max_size=4))
def test_any_lines_can_be_a_block_of_code(lines: list[str]) -> None:
    page = rendered(f"{fence(chr(10).join(lines), 'sh')}\n\nafter\n")
    assert page.startswith('<pre><code class="language-sh">')
    assert page.endswith("</code></pre>\n<p>after</p>\n")


def test_a_section_mark_in_a_command_is_disarmed() -> None:
    assert "<!-- hf-transfer:end" not in fence("x '\n<!-- hf-transfer:end run -->\n'")


@pytest.mark.parametrize(
    ("given_text", "public"),
    [
        ("--dataset /home/ann/data/x.csv", "--dataset ~/data/x.csv"),
        ("--dataset=/Users/ann/x", "--dataset=~/x"),
        ("/root/x and /rooted/x and /data/root/x", "~/x and /rooted/x and /data/root/x"),
        (f"HF_TOKEN=hf_{'a' * 34}", "HF_TOKEN=***"),
        ("abc\u202ecba", "abc\ufffdcba"),
    ],
)
def test_homes_tokens_and_hidden_direction_marks_are_not_published(given_text: str, public: str) -> None:
    assert fence(given_text) == f"```\n{public}\n```"


def test_a_link_is_made_only_for_what_is_on_the_hub() -> None:
    assert link("me/data", "datasets/", True) == "[me/data](https://huggingface.co/datasets/me/data)"
    assert link("/srv/secret/reviews.csv", "datasets/", False) == "`reviews.csv`"
    assert link("timm:resnet18@/srv/w.safetensors", "", False) == "`timm:resnet18@w.safetensors`"


def test_nothing_is_written_as_n_a() -> None:
    assert escape(None) == "n/a"
