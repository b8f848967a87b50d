"""Verify what readers see: the card, and the weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.machine.wording import some
from hf_transfer.report.card.card import card_text, pictures_there
from hf_transfer.runs.card_file import card_name, read_card, stale_lines, without_section
from hf_transfer.runs.companions import SHIFT_FILE
from hf_transfer.runs.reading import read_json_file
from hf_transfer.runs.run_folder import CALIBRATION_FILE, reader_digests, weight_digests
from hf_transfer.verify.check import NOTHING, TOLERANCE, Check, differences, judged, left_out
from hf_transfer.verify.record import Record


def published_checks(record: Record) -> Iterator[Check]:
    """Check the card against results.json, and the model's files against their digests and the results."""
    if (record.folder / "README.md").is_file():
        yield judged("card", "each line of the kit's follows from results.json", lambda: _card(record))
        yield left_out("pictures", "drawn from the same numbers; other versions of matplotlib draw otherwise")
    else:
        yield left_out("card", f"there is none; write it with: hf-transfer card {record.folder}")
    yield from _weights(record)
    if record.results.final.kind != "none":
        yield _model(record)


def _card(record: Record) -> Iterator[str]:
    text, results = read_card(record.folder / "README.md"), record.results
    if not (record.folder / SHIFT_FILE).is_file():
        text = without_section(text, "shift")  # which is told to be not checked
    title = card_name(text) or record.folder.resolve().name
    fresh = card_text(record.folder, results, title, lambda: pictures_there(record.folder))
    stale = list(stale_lines(text, fresh))
    for part, written, made in stale:
        lines = [NOTHING if line is None else line for line in (written, made)]
        yield from differences(lines[0], lines[1], f"README.md, {part}")
    if stale and results.kit_version != __version__:
        yield (
            f"README.md was written by version {results.kit_version} of the kit and is compared with what "
            f"{__version__} writes: verify it with the former, or write it again with hf-transfer card"
        )


def _weights(record: Record) -> Iterator[Check]:
    final = record.results.final
    if final.kind == "none":
        return
    if final.sha256 is None:
        yield left_out("weights", "results.json has no digest of them")
        return
    files = some(list(final.sha256), noun="file")
    holds = f"{files}: the digest that results.json tells" + ", not fetched" * bool(record.remote)
    yield judged("weights", holds, lambda: _digests(record, final.sha256 or {}))


def _digests(record: Record, written: Mapping[str, str]) -> Iterator[str]:
    yield from differences(written, record.remote or weight_digests(_home(record)), "final.sha256")
    if _home(record) != record.folder and (doubled := sorted(record.folder.glob("*.safetensors"))):
        yield f"{doubled[0].name}: weights lie here and in model/, and whoever loads this folder takes these"


def _home(record: Record) -> Path:
    """Where the model lies: in a run's folder, or at the root of a repository's copy."""
    model = record.folder / "model"
    return model if model.is_dir() else record.folder


def _model(record: Record) -> Check:
    """The files beside the weights: their digests, what must not lie there, names of labels, temperature."""
    reload = record.results.final.reload
    if reload is None:
        return left_out("model files", "results.json has no digests of them")
    there = reader_digests(_home(record)).keys() & reload.sha256.keys()
    if record.remote and not there:
        return left_out("model files", f"0 of {len(reload.sha256)} were fetched")
    holds = f"{some(sorted(reload.sha256), noun='file')}: their digests, label names and temperature"
    return judged("model files", holds, lambda: _files(record, reload.sha256))


def _files(record: Record, written: Mapping[str, str]) -> Iterator[str]:
    home = _home(record)
    there = reader_digests(home)
    if home == record.folder:  # where the run's own files lie too
        there = {name: digest for name, digest in there.items() if name in written}
    yield from differences(written, there, "final.reload.sha256")
    names = record.names_there or [path.relative_to(home).as_posix() for path in home.rglob("*")]
    for name in sorted(names):
        if Path(name).suffix in _NOT_OF_A_MODEL:
            yield f"{name}: no part of the model that the run saved; loading it may run code"
    for path in sorted(home.rglob("config.json")):
        yield from _label_names(record, path)
    for path in sorted(home.rglob(CALIBRATION_FILE)):
        yield from _temperature(record, path)


# Pickles and code; what the kit saves has neither.
_NOT_OF_A_MODEL = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".py", ".pyc", ".so", ".h5", ".msgpack"}
)


def _label_names(record: Record, path: Path) -> Iterator[str]:
    """Names by which the model answers, in the order of its outputs."""
    content = _content(path)
    if isinstance(names := content.get("id2label"), dict):
        ordered = [names[key] for key in sorted(names, key=int)]
    else:
        ordered = content.get("label_names") or []
    if ordered and len(ordered) == len(record.label_names):
        name = path.relative_to(_home(record)).as_posix()
        yield from differences(ordered, list(map(str, record.label_names)), f"{name}, names of labels")


def _temperature(record: Record, path: Path) -> Iterator[str]:
    content, found = _content(path), record.results.calibration
    made = 1.0 if found is None else found.temperature
    written = content.get("temperature")
    if not (isinstance(written, int | float) and abs(written - made) <= TOLERANCE * max(1.0, made)):
        yield f"{path.name}, temperature: written {written}, recomputed {made}"
    in_weights = record.results.final.temperature_in_weights
    yield from differences(content.get("in_weights"), in_weights, f"{path.name}, in_weights")


def _content(path: Path) -> dict[str, Any]:
    values = read_json_file(path)
    return values if isinstance(values, dict) else {}
