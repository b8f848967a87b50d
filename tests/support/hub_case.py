"""A small run to push, and the client pointed at a Hub on this machine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import pytest
from hub_server import HubServer
from huggingface_hub import constants

TOKEN = "hf_" + "Ab3" * 12
REPO = "ada/reviews"
INFO = f"/api/models/{REPO}$"
BLOCK = "<!-- hf-transfer:begin scores -->\n{}\n<!-- hf-transfer:end scores -->\n"
FRONT = """---
license: mit
pipeline_tag: text-classification
tags: [hf-transfer-kit, cross-validation]
model-index:
- name: reviews
  results:
  - task: {type: text-classification}
    dataset: {type: reviews, name: Reviews}
    metrics: [{type: accuracy, value: 0.91}]
---
"""


@dataclass
class Folder:
    """A run as training leaves it, small enough to look at."""

    path: Path

    def write(self, name: str, content: bytes | str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def contents(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(self.path.rglob("*")) if p.is_file()}


def make_folder(path: Path) -> Folder:
    """Write a run that may be pushed."""
    folder = Folder(path)
    folder.write("README.md", FRONT + "# Reviews\n\n" + BLOCK.format("accuracy 0.91"))
    folder.write("results.json", json.dumps({"final": {"kind": "refit", "path": "model"}}))
    folder.write("config.yaml", "seed: 0\n")
    folder.write("folds.parquet", b"PAR1\0folds")
    folder.write("predictions.parquet", b"PAR1\0predictions")
    folder.write("plots/confusion.png", b"\x89PNG\0picture")
    folder.write("model/config.json", "{}")
    folder.write("model/tokenizer.json", '{"vocab": {}}')
    folder.write("model/model.safetensors", b"\0" * 1000)
    folder.write("folds/r0f0/scores.json", "{}")
    return folder


PUSHED = {
    "README.md", "results.json", "config.yaml", "folds.parquet", "predictions.parquet", "plots/confusion.png",
    "config.json", "tokenizer.json", "model.safetensors",
}  # fmt: skip


@contextmanager
def hub_for(patch: pytest.MonkeyPatch, folder: Path, **options: int) -> Iterator[HubServer]:
    """A Hub that this process's client talks to, with `ada` logged in."""
    with HubServer(**options) as server:
        server.account(TOKEN, "ada", orgs={"lab": "write", "museum": "read"})
        patch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
        patch.setenv("HF_TOKEN", TOKEN)
        yield server
        huggingface_hub.close_session()
