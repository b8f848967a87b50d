"""Pretrain `builtin:tiny-bert` on text of this repository, and probe it on `builtin:reviews`.

    nice python benchmarks/builtin/pretrain_tiny_bert.py [MINUTES] [FOLDER]

The pool is the documentation, the docstrings of the package, and the sentences of `builtin:mentions`: all
written for this project. The reviews stay out of it, as they judge.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from hf_transfer import pretrain
from hf_transfer.data import builtin
from hf_transfer.transfer.pretrain_words import pretrain_text

ROOT = Path(__file__).parents[2]
MOST_BYTES = 2_000_000
SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
CODE = re.compile(r"```.*?```|^\|.*$|^<.*$", re.S | re.M)
FEWEST_WORDS = 4


def main() -> None:
    """Write the pool, pretrain for some minutes of one core, and print the verdict."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "runs" / "pretrained-tiny-bert"
    folder.mkdir(parents=True, exist_ok=True)
    pool = folder.with_name(f"{folder.name}-pool.txt")
    lines = list(dict.fromkeys(sentences()))
    text = "\n".join(lines)
    if len(text.encode()) > MOST_BYTES:
        raise SystemExit(f"The pool has {len(text.encode()):,} bytes, more than {MOST_BYTES:,}.")
    pool.write_text(text, encoding="utf-8")
    print(f"{len(lines):,} sentences, {len(text.encode()):,} bytes")
    torch.set_num_threads(1)
    record = pretrain(
        pool,
        base_model="builtin:tiny-bert",
        probe="builtin:reviews",
        output_dir=str(folder),
        learning_rate=1e-3,
        num_epochs=60,
        batch_size=64,
        max_length=48,
        minutes=minutes,
    )
    print(pretrain_text(record))


def sentences() -> Iterator[str]:
    """Sentences of the project's own prose."""
    for passage in passages():
        for sentence in SENTENCE.split(" ".join(passage.split())):
            if len(sentence.split()) >= FEWEST_WORDS:
                yield sentence


def passages() -> Iterator[str]:
    """Paragraphs of documentation, docstrings, and the sentences of the built-in mentions."""
    for path in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*/**/*.md"))]:
        if not {".venv", "runs", "site"} & {*path.relative_to(ROOT).parts}:
            yield from re.split(r"\n\s*\n|\n- ", CODE.sub("", path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "hf_transfer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield from (ast.get_docstring(node) or "").split("\n\n")
    mentions = Path(builtin.__file__).with_name("mentions.jsonl")
    for line in mentions.read_text(encoding="utf-8").splitlines():
        yield " ".join(json.loads(line)["tokens"])


if __name__ == "__main__":
    main()
