"""The documentation and the code name the same things; nothing here needs mkdocs."""

import importlib.util
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml

from hf_transfer.config.run_config import RunConfig
from hf_transfer.report.words.verdict import Code

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CODES = set(get_args(Code))
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def pages() -> dict[str, str]:
    """Every page of the site by its path in docs/; those that the build writes are made here."""
    made = {name: make() for name, make in generator().PAGES.items()}
    return {str(path.relative_to(DOCS)): path.read_text("utf-8") for path in DOCS.rglob("*.md")} | made


def in_nav(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [name for part in parts for name in in_nav(part)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as mkdocs makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE):
        words, _, given = heading.partition("{:")
        slug = re.sub(r"[^\w\s-]", "", words).strip().lower()
        found.add(given.strip(" #}") or re.sub(r"[-\s]+", "-", slug))
    return found


def broken_links(text: str, folder: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    made = {DOCS / name: anchors(text) for name, text in pages().items()}
    broken = []
    for link in LINK.findall(FENCE.sub("", text)):
        name, _, anchor = link.partition("#")
        target = (folder / name).resolve()
        there = target in made or target.exists()
        if not link.startswith("https://") and not (there and (not anchor or anchor in made[target])):
            broken.append(link)
    return broken


def test_the_navigation_names_every_page_once():
    nav = in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert sorted(nav) == sorted(pages())


@pytest.mark.parametrize("name", sorted(str(path.relative_to(ROOT)) for path in DOCS.rglob("*.md")))
def test_links_between_pages_lead_somewhere(name):
    path = ROOT / name
    assert broken_links(path.read_text("utf-8"), path.parent) == []


def test_links_of_the_readme_lead_somewhere():
    assert broken_links((ROOT / "README.md").read_text("utf-8"), ROOT) == []


def test_every_verdict_has_a_page_and_every_page_a_verdict():
    assert {path.stem for path in (DOCS / "verdicts").glob("*.md")} - {"index"} == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_page_of_a_verdict_says_what_to_do(code):
    text = pages()[f"verdicts/{code}.md"]
    assert text.startswith(f"# {code}\n")
    assert {"how-it-is-answered", "answers", "formula"} <= anchors(text)
    assert "| answer | means | what to do |" in text
    assert "**Reference" in text


def test_every_setting_is_described_with_its_other_names():
    text = pages()["reference/settings.md"]
    for field in fields(RunConfig):
        assert f"### {field.name} {{" in text
        assert all(f"`--{name}`" in text for name in field.metadata["aliases"])


def test_every_verb_is_described():
    text = pages()["reference/verbs.md"]
    for verb in ("run", "search", "rank", "predict", "compare", "verify", "doctor"):
        assert f"## {verb}\n\n```text\nusage: hf-transfer {verb} " in text


def test_settings_that_pages_name_exist():
    known = {name for f in fields(RunConfig) for name in (f.name, f"no_{f.name}", *f.metadata["aliases"])}
    known |= set(re.findall(r"--([\w-]+)", pages()["reference/verbs.md"]))
    launch = {"config_file", "num_processes", "head", "address"}  # of accelerate and Ray
    written = {name: text for name, text in pages().items() if name not in generator().PAGES}
    unknown = {
        (name, flag)
        for name, text in written.items()
        for flag in re.findall(r"--([a-z][\w-]*)", text)
        if flag not in known | launch
    }
    assert unknown == set()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) < 9_000
