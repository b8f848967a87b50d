"""Choose which files of a run to publish, and check its card as the Hub does."""

import hashlib
import io
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import HubError, TransferError
from hf_transfer.machine.secrets import holds_secret, one_line
from hf_transfer.machine.wording import some
from hf_transfer.models.sentence_modules import HEAD_FOLDER, MODULES_FILE
from hf_transfer.runs.hub.client import say
from hf_transfer.runs.results import read_results
from hf_transfer.runs.run_folder import reader_digests, weight_digests
from hf_transfer.runs.scored_record import SCORED_FOLDER

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_AT_ROOT = (
    "README.md", "results.json", "config.yaml", "folds.parquet", "predictions.parquet",
    "test_predictions.parquet", "sealed_predictions.parquet", "search.json", "rank.json", "compare.json",
    "combine.json", "shots.json", "adapt.json",  # but not shift.json, which quotes rows of both data sets
)  # fmt: skip
_IN_MODEL = {".safetensors", ".json", ".txt", ".model", ".jinja"}
ONNX_FOLDER = "onnx"
_IN_ONNX = _IN_MODEL - {".safetensors"} | {".onnx"}
_SCORED = {".json", ".parquet", ".png"}
_TRAINING_STATE = re.compile(
    r"\.|checkpoint|optimizer|scheduler|scaler|rng_state|random_states|training_args|trainer_state"
)
_BINARY = {".onnx", ".safetensors", ".parquet", ".png"}
# Left from an earlier push they would be loaded in place of the new weights.
WEIGHTS = re.compile(r"(fold-r\d+f\d+/)?model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
# Nor may a model seem to be one of sentence-transformers, because an earlier one was.
_MODULES = re.compile(
    r"(fold-r\d+f\d+/)?(modules\.json|classifier\.safetensors|\d_\w+/(config\.json|model\.safetensors))"
)


def is_of_model(name: str) -> bool:
    """Whether a repository's file would be loaded as part of its model."""
    return WEIGHTS.fullmatch(name) is not None or _MODULES.fullmatch(name) is not None


def check_card(text: str) -> None:
    """Check a card's front matter as the Hub does, without asking it.

    Raises:
        HubError: Naming all that is wrong at once.
    """
    data = front_matter(text)
    problems = [
        f"{name} must be a text, not {data[name]!r}."
        for name in ("license", "pipeline_tag", "library_name")
        if name in data and not isinstance(data[name], str)
    ]
    for name in ("tags", "datasets", "metrics", "language", "base_model"):
        values = data.get(name) or []
        if not all(isinstance(value, str) for value in (values if isinstance(values, list) else [values])):
            problems.append(f"{name} must be texts, not {values!r}.")
    try:
        problems += _index_problems(data.get("model-index") or [])
    except (KeyError, TypeError) as error:
        problems.append(f"model-index is not complete ({type(error).__name__}: {error}).")
    if problems:
        raise HubError("The front matter of README.md is not valid: " + " ".join(problems))


def front_matter(text: str) -> dict[str, Any]:
    """Parse the YAML front matter of a card."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\r?(\n|$)", text, re.DOTALL)
    if not match:
        raise HubError("README.md does not begin with a front matter between two lines of ---.")
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:  # also a tuple or a numpy number, written as a Python object
        raise HubError(f"The front matter of README.md is not YAML: {one_line(error)}") from error
    if not isinstance(data, dict):
        raise HubError("The front matter of README.md holds no 'name: value' lines.")
    return data


def _index_problems(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for result in entry["results"]:
            words = [
                entry["name"],
                result["task"]["type"],
                result["dataset"]["name"],
                result["dataset"]["type"],
            ]
            yield from (
                f"model-index: {word!r} must be a text." for word in words if not isinstance(word, str)
            )
            for metric in result["metrics"]:
                value = metric["value"]
                if type(value) not in (int, float) or not math.isfinite(value):
                    yield f"model-index: {metric['type']} is {value!r}, not a finite number."


def collect(run: Path, *, scored: bool = False) -> dict[str, Path]:
    """Map each path in the repository to its local file, from an explicit list.

    An export goes too, unless it is older than the weights, and so may be of others.

    Args:
        run: The run's folder.
        scored: Whether what `hf-transfer score` kept goes too.
    """
    candidates = {name: run / name for name in _AT_ROOT if (run / name).exists()}
    candidates |= {f"plots/{path.name}": path for path in sorted(run.glob("plots/*"))}
    if scored:
        candidates |= {
            path.relative_to(run).as_posix(): path for path in sorted(run.glob(f"{SCORED_FOLDER}/*/*"))
        }
    if _is_of_these_weights(run / ONNX_FOLDER / "model.onnx", run):
        candidates |= {f"{ONNX_FOLDER}/{path.name}": path for path in sorted(run.glob(f"{ONNX_FOLDER}/*"))}
    for path in sorted(path for path in run.glob("model/**/*") if not path.is_dir()):
        candidates.setdefault(path.relative_to(run / "model").as_posix(), path)
    files = {name: path for name, path in candidates.items() if _may_go(path, run)}
    for path in (path for name, path in candidates.items() if name not in files):
        say(f"Not pushed: {path}")
    problems = [*_missing(run, files), *_unreadable(files), *_secrets(files), *_not_as_loaded(run, files)]
    if problems:
        raise HubError("\n".join(problems))
    return files


def _may_go(path: Path, run: Path) -> bool:
    """Whether a path is a real file of this run, of a kind that is published."""
    target, home = path.resolve(), run.resolve()
    if not (target.is_file() and target.is_relative_to(home)):
        return False
    folders = path.relative_to(run).parts
    of_folder = {"plots": {".png"}, "model": _IN_MODEL, SCORED_FOLDER: _SCORED, ONNX_FOLDER: _IN_ONNX}
    allowed = of_folder.get(folders[0], {path.suffix})
    hidden = any(map(_TRAINING_STATE.match, {*folders, *target.relative_to(home).parts}))
    return path.suffix in allowed and not hidden


def _is_of_these_weights(export: Path, run: Path) -> bool:
    weights = [path.stat().st_mtime for path in run.glob("model/*.safetensors")]
    return export.is_file() and bool(weights) and export.stat().st_mtime >= max(weights)


def _missing(run: Path, files: Mapping[str, Path]) -> Iterator[str]:
    if "results.json" not in files:
        members = sorted(path.parent.name for path in run.glob("members/*/results.json"))
        each = f" Its members are: push {run / 'members' / members[0]} and the others." if members else ""
        yield f"{run.absolute()} holds no results.json, so it is not a finished run.{each}"
        return
    if "README.md" not in files:
        yield f"{run} holds no README.md. Write it with: hf-transfer card {shlex.quote(str(run))}"
    kind, homes = _final(files["results.json"])
    for home in homes:
        inside = {Path(name).name for name in files if Path(name).parent == Path(home)}
        if not ("config.json" in inside and any(map(WEIGHTS.fullmatch, inside))):
            yield f"{run / 'model' / home} must hold config.json and model.safetensors, as final is {kind!r}."
        head = Path(home) / HEAD_FOLDER / "model.safetensors"
        if MODULES_FILE in inside and head.as_posix() not in files:
            yield f"{run / 'model' / head} is not there, and {MODULES_FILE} beside names it."


def _final(results: Path) -> tuple[str, list[str]]:
    """Kind of the final model, and the repository folders that must hold its weights."""
    try:
        final = json.loads(results.read_text(encoding="utf-8"))["final"]
        kind = str(final["kind"])
        return kind, {"none": [], "ensemble": list(final.get("members") or ["."])}.get(kind, ["."])
    except (ValueError, TypeError, KeyError):  # what is wrong with the file is told by _unreadable
        return "unknown", ["."]


def _not_as_loaded(run: Path, files: Mapping[str, Path]) -> Iterator[str]:
    """Why a model may not go: plain libraries answered otherwise, or it is another one than they loaded."""
    try:
        final = read_results(run).final
    except TransferError:  # what is wrong with the file is told by _unreadable
        return
    if final.reload is None:
        return  # of an earlier version
    again = "Run the recipe again with the same settings: the folds are kept, and the model is made anew."
    if final.reload.problem:
        yield f"{run / 'model'} may not be published: {final.reload.problem}."
    model = run / "model"
    there = weight_digests(model) | reader_digests(model)
    known = {**(final.sha256 or {}), **final.reload.sha256}
    if changed := sorted(name for name in known if there.get(name) != known[name]):
        yield (
            f"{model} is not the model that was loaded and compared: {some(changed, noun='file')} changed "
            f"since. {again}"
        )


def _unreadable(files: Mapping[str, Path]) -> Iterator[str]:
    readers = {"README.md": check_card, "config.yaml": yaml.safe_load, "results.json": _strict_json}
    for name in readers.keys() & files.keys():
        try:
            readers[name](files[name].read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError, HubError) as error:
            yield f"{files[name]} cannot be read back: {one_line(error)}"


def _strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a number in JSON.")

    return json.loads(text, parse_constant=refuse)


def _secrets(files: Mapping[str, Path]) -> Iterator[str]:
    for path in files.values():
        if path.suffix not in _BINARY and holds_secret(path.read_bytes().decode("latin-1")):
            yield f"{path} holds something that looks like a token or a private key. Take it out first."


def is_same(content: Path | bytes, file: "RepoSibling") -> bool:
    """Whether a content matches a file on the Hub, by the digest that the Hub reports."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size != file.size:
        return False
    if file.lfs is None:
        return _git_oid(content if isinstance(content, bytes) else content.read_bytes()) == file.blob_id
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
