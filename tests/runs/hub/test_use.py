"""A run is trained, pushed, and used as somebody else would: from the Hub's address alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_case import TOKEN
from hub_server import HubServer
from PIL import Image

import hf_transfer

pytestmark = pytest.mark.slow

REPO = "ada/digits"
RECIPE = Path(hf_transfer.__file__).parents[1] / "recipes" / "image_classification.py"
SMALL = [
    "--base_model", "builtin:digits-resnet", "--dataset", "builtin:digits_5to9", "--max_rows", "40",
    "--num_folds", "2", "--num_epochs", "1", "--learning_rate", "1e-2", "--push_to_hub", REPO,
]  # fmt: skip
USE = """
import json, sys
import numpy, pandas, timm, torch
from datasets import load_dataset
from huggingface_hub import HfApi, snapshot_download
from PIL import Image
from transformers import pipeline

repo, picture = sys.argv[1:]
model = timm.create_model(f"hf-hub:{repo}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
with torch.no_grad():
    shares = model(transform(Image.open(picture).convert("RGB"))[None]).softmax(1)[0]
rows = load_dataset("parquet", data_files=f"hf://{repo}/predictions.parquet", split="train")
print(json.dumps({
    "files": HfApi().list_repo_files(repo),
    "snapshot": snapshot_download(repo),
    "rows": len(rows),
    "folds": len(pandas.read_parquet(f"hf://{repo}/folds.parquet")),
    "pipeline": {x["label"]: x["score"] for x in pipeline("image-classification", model=repo)(picture)},
    "timm": dict(zip(model.pretrained_cfg["label_names"], shares.tolist())),
}))
"""


@pytest.fixture(scope="module")
def server():
    with HubServer(part_size=500_000) as server:
        server.account(TOKEN, "ada")
        yield server


@pytest.fixture(scope="module")
def python(server, tmp_path_factory):
    """Runs Python in a home of its own, with the Hub's address; gives what it printed."""
    home = tmp_path_factory.mktemp("home")
    here = {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    here |= {"HF_HUB_DISABLE_XET": "1"}

    def run(*words):
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(
            command, env=os.environ | here, cwd=home, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    Image.fromarray((np.eye(8) * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def published(python, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "digits"
    assert "Published" in python(RECIPE, *SMALL, "--output_dir", run)
    return run


def test_others_libraries_open_what_was_pushed(server, python, published, picture):
    found = json.loads(python("-c", USE, REPO, picture).splitlines()[-1])
    assert len(server.repos[REPO].commits) == 2
    assert set(found["files"]) >= {"README.md", "results.json", "config.json", "model.safetensors"}
    assert all((Path(found["snapshot"]) / name).is_file() for name in found["files"])
    assert found["rows"] == found["folds"] == 40
    assert found["pipeline"] == pytest.approx(found["timm"], abs=1e-4)
    assert server.asked("PUT", "/lfs-part/") >= 2


def test_the_kit_s_own_verbs_take_the_repository(python, published, picture):
    assert "weights" in python("-m", "hf_transfer", "verify", REPO)
    python("-m", "hf_transfer", "verify", REPO)
    here = json.loads(python("-m", "hf_transfer", "predict", published, picture, "--json"))
    there = json.loads(python("-m", "hf_transfer", "predict", REPO, picture, "--json"))
    assert here == there
    python("-m", "hf_transfer", "push", published, REPO)


def test_the_card_says_how_to_open_the_predictions(server, published):
    line = f'load_dataset("parquet", data_files="hf://{REPO}/predictions.parquet")'
    assert line in server.repos[REPO].files["README.md"].decode()


BUILD = """
import sys
from hf_transfer import RunConfig, SequenceClassification
for name in sys.argv[1:]:
    task = SequenceClassification(RunConfig(base_model=name), ("a", "b"))
    print(type(task.build_model()).__name__, task.library)
"""


def test_a_sentence_encoder_says_there_how_it_pools(server, python, sentence_encoder):
    files = {
        path.relative_to(sentence_encoder).as_posix(): path.read_bytes()
        for path in sentence_encoder.rglob("*")
        if path.is_file()
    }
    server.add_repo("ada/encoder", files)
    server.add_repo("ada/bert", {name: content for name, content in files.items() if "modules" not in name})
    offline = "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n"
    for before in ("", "", offline):  # also from what was fetched
        found = python("-c", before + BUILD, "ada/encoder", "ada/bert").splitlines()
        assert found == [
            "MeanClassifier sentence-transformers",
            "BertForSequenceClassification transformers",
        ]
