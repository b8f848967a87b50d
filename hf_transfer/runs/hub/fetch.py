"""Download a published run, and check that it arrived intact."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import HubError
from hf_transfer.machine.network import HUB_ID
from hf_transfer.runs.hub.client import (
    ANSWER_BYTES,
    ANSWER_SECONDS,
    DamagedError,
    client,
    explained,
    patiently,
    within,
)
from hf_transfer.runs.hub.files import is_same

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

RETRY_SECONDS = 60.0


def is_repository(run: str | Path) -> bool:
    """Whether a name is a repository's `user/name`, and not a local folder."""
    return not Path(run).exists() and "/" in str(run) and HUB_ID.fullmatch(str(run)) is not None


def fetch_run(repo_id: str, patterns: Sequence[str] | None = None) -> "tuple[Path, ModelInfo]":
    """Download a repository's files to the cache; return their folder and the Hub's description.

    Args:
        repo_id: `user/name`.
        patterns: Of the files to fetch; all when not given.

    Raises:
        HubError: If it is not there, the Hub does not answer, a name in its listing leads out of its folder,
            or a file arrives damaged again and again.
    """
    advice = f"{repo_id!r} is no folder here either. Give a run's folder, or a repository that you may read."
    with explained(advice):
        return patiently(lambda: _fetch(repo_id, patterns), RETRY_SECONDS)


def _fetch(repo_id: str, patterns: Sequence[str] | None) -> "tuple[Path, ModelInfo]":
    with client(ANSWER_SECONDS) as api:
        info = within(lambda: api.model_info(repo_id, files_metadata=True), ANSWER_SECONDS)
    files = info.siblings or ()
    _refuse_leading_out(repo_id, str(info.sha), [file.rfilename for file in files])
    wanted = None if patterns is None else list(patterns)
    asked = [f for f in files if wanted is None or any(fnmatch(f.rfilename, one) for one in wanted)]
    with client(ANSWER_SECONDS, ANSWER_BYTES + sum(file.size or 0 for file in asked)) as api:
        folder = Path(api.snapshot_download(repo_id, revision=info.sha, allow_patterns=wanted))
    downloaded = ((folder / file.rfilename, file) for file in asked)
    damaged = [path for path, file in downloaded if path.is_file() and not is_same(path, file)]
    for content in _in_cache(folder, damaged):
        content.unlink()  # or the cache, which looks at the size only, would keep it
    if damaged:
        raise DamagedError(f"{', '.join(path.name for path in damaged)} of {repo_id} arrived damaged.")
    return folder, info


def _refuse_leading_out(repo_id: str, commit: str, names: Iterable[str]) -> None:
    """Refuse file names that would read, write or delete files elsewhere on this machine."""
    from huggingface_hub import constants

    outside = [name for name in names if _leads_out(name)]
    if not re.fullmatch("[0-9a-f]{40}", commit):
        outside.append(commit)  # the name of the folder that the files come into
    if outside:
        raise HubError(
            f"The listing of {repo_id} has names that lead out of its folder: "
            f"{', '.join(map(repr, outside[:3]))}. A name must be relative, like 'plots/scores.png'. Nothing "
            f"was fetched: do not trust this repository, and check that {constants.ENDPOINT} is the Hub."
        )


def _leads_out(name: str) -> bool:
    """Whether a file name leads out of its folder on any operating system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return (
        not posix.parts
        or posix.is_absolute()
        or bool(windows.anchor)
        or ".." in windows.parts
        or "\0" in name
    )


def _in_cache(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """The cache's own copies of damaged files, which may be deleted."""
    contents = [path.resolve() for path in paths]
    homes = folder.resolve(), (folder.parents[1] / "blobs").resolve()
    for path, content in zip(paths, contents, strict=True):
        if not any(map(content.is_relative_to, homes)):
            raise HubError(
                f"{path} is a link out of the cache, to {content}, which differs from the file on the Hub "
                "and was left as it is. Remove the link, so that the file is fetched."
            )
    return contents
