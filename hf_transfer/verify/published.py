"""Verify what readers see: the card, and the weights."""

from collections.abc import Iterator

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.machine.wording import some
from hf_transfer.report.card.card import card_text, pictures_there
from hf_transfer.runs.card_file import card_name, read_card, stale_lines
from hf_transfer.runs.run_folder import weight_digests
from hf_transfer.verify.check import NOTHING, Check, differences, judged, left_out
from hf_transfer.verify.record import Record


def published_checks(record: Record) -> Iterator[Check]:
    """Check the card against results.json, and the weights against their digests."""
    if (record.folder / "README.md").is_file():
        yield judged("card", "each line of the kit's follows from results.json", lambda: _card(record))
        yield left_out("pictures", "drawn from the same numbers; other versions of matplotlib draw otherwise")
    else:
        yield left_out("card", f"there is none; write it with: hf-transfer card {record.folder}")
    yield from _weights(record)


def _card(record: Record) -> Iterator[str]:
    text, results = read_card(record.folder / "README.md"), record.results
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
    holds = f"{some(list(final.sha256), noun='file')} as the run saved it"
    yield judged("weights", holds, lambda: differences(final.sha256, _there(record), "final.sha256"))


def _there(record: Record) -> dict[str, str]:
    """Digests of the weights in a run's folder, a repository's copy, or on the Hub."""
    model = record.folder / "model"
    return dict(record.remote) or weight_digests(model if model.is_dir() else record.folder)
