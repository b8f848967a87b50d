"""Shared fixtures. No test of the default run needs a network, a Hub, or weights from outside."""

import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

# Libraries read these when they are imported, so they stand above all imports.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-transfer-kit-tests-")
os.environ.pop("HF_TOKEN", None)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import pytest
from hypothesis import settings

# The kit and PyTorch are imported where they are used: the process that only hands out tests needs neither.
if TYPE_CHECKING:
    from hf_transfer import RunConfig

collect_ignore = ["support/device"]  # which runs in processes of its own, where doctests aren't looked for

# The same examples each time, so that a change is judged by itself; `make test-all` draws others.
# No deadline, which a busy machine misses.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile("fixed")


# A job in the background ignores SIGINT, and so would all processes that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    """Leave nothing behind, in each of the processes that run tests."""
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


def _freeze_libraries(known: int = 0) -> int:
    """Look no more through the objects there are, where libraries came in; give the number of modules."""
    if len(sys.modules) > known + 20:
        gc.collect()
        gc.freeze()
        return len(sys.modules)
    return known


@pytest.fixture(autouse=True, scope="module")
def _modules_frozen() -> list[int]:
    return [_freeze_libraries()]


@pytest.fixture(autouse=True)
def _only_new_objects_collected(_modules_frozen):
    """After each fold all objects are looked through for what can go: half a million are the libraries'."""
    _modules_frozen[0] = _freeze_libraries(_modules_frozen[0])


@pytest.fixture(autouse=True)
def _fixed_seed():
    import torch

    torch.manual_seed(0)


@pytest.fixture
def reviews_config(tmp_path) -> "RunConfig":
    """Sentiment on a few built-in reviews: trains in a second, and scores are not all 1."""
    from small_runs import plain_config

    return plain_config(
        base_model="builtin:tiny-bert",
        dataset="builtin:reviews",
        max_rows=60,
        num_folds=3,
        num_epochs=1,
        batch_size=16,
        learning_rate=1e-3,
        max_length=32,
        output_dir=str(tmp_path / "run"),
    )


@pytest.fixture(scope="session")
def device():
    """A process with a pretend GPU, for tests with the mark `device`; see `support/pretend_device.py`."""
    from pretend_device import PretendDevice, why_not

    if reason := why_not():
        pytest.skip(reason)
    with PretendDevice() as process:
        yield process


@pytest.fixture(scope="session")
def sentence_encoder(tiny_bert_folder, tmp_path_factory) -> Path:
    """The same as a sentence encoder that was made for the mean of its tokens, in the usual layout."""
    folder = tmp_path_factory.mktemp("models") / "sentence-encoder"
    shutil.copytree(tiny_bert_folder, folder)
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.fixture(scope="session")
def tiny_bert_folder(tmp_path_factory) -> Path:
    """A headless BERT of four blocks with weights, and its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertModel

    import hf_transfer

    source = Path(hf_transfer.__file__).parent / "data" / "builtin" / "tiny-bert"
    config = AutoConfig.from_pretrained(source, num_hidden_layers=4, hidden_size=32, intermediate_size=32)
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    torch.manual_seed(1)
    BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder
