"""Fetch a published run, and see that it has arrived as it was sent."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.hub_client import DamagedError, client, explained, patiently
from hf_transfer.hub_files import is_same
from hf_transfer.tables import HUB_ID

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

ANSWER_SECONDS = 60.0  # longest silence of the server in the middle of a request
RETRY_SECONDS = 60.0


def is_repository(run: str | Path) -> bool:
    """Whether something is a repository's `user/name`, and not a folder here."""
    return not Path(run).exists() and "/" in str(run) and HUB_ID.fullmatch(str(run)) is not None


def fetch_run(repo_id: str, patterns: Sequence[str] | None = None) -> "tuple[Path, ModelInfo]":
    """Bring a repository's files into the cache; give their folder, and what the Hub says of them.

    Args:
        repo_id: `user/name`.
        patterns: Of the files to fetch; all when not given.

    Raises:
        HubError: If it is not there, the Hub does not answer, or a file arrives damaged again and again.
    """
    advice = f"{repo_id!r} is no folder here either. Give a run's folder, or a repository that you may read."
    with explained(advice), client(ANSWER_SECONDS) as api:
        return patiently(lambda: _fetch(api, repo_id, patterns), RETRY_SECONDS)


def _fetch(api: "HfApi", repo_id: str, patterns: Sequence[str] | None) -> "tuple[Path, ModelInfo]":
    info = api.model_info(repo_id, files_metadata=True)
    wanted = None if patterns is None else list(patterns)
    folder = Path(api.snapshot_download(repo_id, revision=info.sha, allow_patterns=wanted))
    found = ((folder / file.rfilename, file) for file in info.siblings or ())
    damaged = [path for path, file in found if path.is_file() and not is_same(path, file)]
    for path in damaged:
        path.resolve().unlink()  # or the cache, which looks at the size only, would keep it
    if damaged:
        raise DamagedError(f"{', '.join(path.name for path in damaged)} of {repo_id} arrived damaged.")
    return folder, info
