"""Read and write the layout of sentence-transformers: its modules and their pooling.

A model is a list of modules in `modules.json`: the transformer in the folder itself, and what follows it in
folders of its own, each with a `config.json`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import write_json
from hf_transfer.machine.parsing import parse_json

MODULES_FILE = "modules.json"
HEAD_FOLDER = "2_Dense"
_POOLING_FOLDER = "1_Pooling"
_TYPES = "sentence_transformers.models"
# Before version 5 each way to pool had a key of its own.
_SWITCHES = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
}

Find = Callable[[str], Path | None]


@dataclass(frozen=True)
class SentenceModules:
    """What a sentence-transformers checkpoint says of its modules.

    Attributes:
        pooling: How the tokens of a text become one vector, such as `mean` or `cls`; None where nothing, or
            more than one way, is said.
        head: Weights of the linear layer that follows and ends the model; None without one.
    """

    pooling: str | None = None
    head: Path | None = None


def read_modules(find: Find) -> SentenceModules:
    """Read a checkpoint's modules; empty if it is not in the layout of sentence-transformers.

    Args:
        find: Gives the path of a checkpoint's file by its name there, None if it has none.

    Raises:
        ValueError: If a file is damaged.
    """
    listed = _read(find, MODULES_FILE) or []
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in listed]
        if kinds[:2] != ["Transformer", "Pooling"]:
            return SentenceModules()
        pooling = _pooling(_read(find, f"{_inside(listed[1])}/config.json") or {})
        head = _linear(find, _inside(listed[2])) if kinds[2:] == ["Dense"] else None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{MODULES_FILE} or what it names is not of that layout ({error!r})") from error
    return SentenceModules(pooling, head)


def write_modules(folder: Path, *, width: int, num_labels: int) -> None:
    """Write the modules of a mean-pooled classifier: encoder, mean, linear layer.

    Args:
        folder: The model's, with its configuration and weights.
        width: Features of a token.
        num_labels: Outputs of the linear layer.
    """
    modules = (("Transformer", ""), ("Pooling", _POOLING_FOLDER), ("Dense", HEAD_FOLDER))
    write_json(
        folder / MODULES_FILE,
        [
            {"idx": number, "name": str(number), "path": path, "type": f"{_TYPES}.{kind}"}
            for number, (kind, path) in enumerate(modules)
        ],
    )
    # No limit here: it is the tokenizer's. The keys are those that old versions read too.
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": None, "do_lower_case": False})
    switches = {key: name == "mean" for name, key in _SWITCHES.items()}
    _write_config(folder / _POOLING_FOLDER, {"word_embedding_dimension": width} | switches)
    _write_config(
        folder / HEAD_FOLDER,
        {
            "in_features": width,
            "out_features": num_labels,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )


def _write_config(folder: Path, values: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", values)


def _read(find: Find, name: str) -> Any:
    path = find(name)
    if path is None:
        return None
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{name} is not readable as JSON ({error})") from error


def _inside(module: dict[str, Any]) -> str:
    """The folder of a module; an error if it is outside the model's folder."""
    path = str(module["path"])
    if not re.fullmatch(r"\w[\w.-]*", path):
        raise ValueError(f"{MODULES_FILE} names the folder {path!r}, which is none of the model's")
    return path


def _pooling(config: dict[str, Any]) -> str | None:
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    modes = [mode] if isinstance(mode, str) else list(mode)
    names = {key: name for name, key in _SWITCHES.items()}
    return names.get(modes[0], str(modes[0])) if len(modes) == 1 else None


def _linear(find: Find, folder: str) -> Path | None:
    config = _read(find, f"{folder}/config.json")
    is_linear = config["activation_function"].endswith(".Identity") and config.get("bias", True)
    return find(f"{folder}/model.safetensors") if is_linear else None
