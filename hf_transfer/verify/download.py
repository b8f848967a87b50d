"""Fetch from the Hub what a published run can be verified by."""

from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.card import read_for_card
from hf_transfer.hub_client import client, explained
from hf_transfer.verify.record import Record

ANSWER_SECONDS = 60.0  # longest silence of the server in the middle of a request
_FILES = ["README.md", "results.json", "config.yaml", "folds.parquet", "*predictions.parquet", "plots/*.png"]


def fetch_record(repo_id: str) -> Record:
    """Fetch all but the weights, of which the Hub itself tells the digest.

    Args:
        repo_id: `user/name`.

    Raises:
        ConfigError: If it holds no run.
        HubError: If it is not there or the Hub does not answer.
    """
    advice = f"{repo_id!r} is no folder here either. Give a run's folder, or a repository that you may read."
    with explained(advice), client(ANSWER_SECONDS) as api:
        info = api.model_info(repo_id, files_metadata=True)
        folder = Path(api.snapshot_download(repo_id, revision=info.sha, allow_patterns=_FILES))
    digests = {
        file.rfilename: file.lfs.sha256
        for file in info.siblings or ()
        if file.lfs is not None and file.rfilename.endswith(".safetensors")
    }
    return Record(folder, read_for_card(folder), digests)
