"""Fetch from the Hub what a published run can be verified by."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.hub.fetch import fetch_run
from hf_transfer.runs.results import read_results
from hf_transfer.verify.record import Record

_FILES = [
    "README.md", "results.json", "config.yaml", "folds.parquet", "*predictions.parquet", "plots/*.png",
    "*.json", "*.txt", "*.model", "*.jinja",
]  # fmt: skip


def fetch_record(repo_id: str) -> Record:
    """Fetch all but the weights, of which the Hub itself tells the digest.

    The files by which the model is read come too, as they say which output is which label.

    Args:
        repo_id: `user/name`.

    Raises:
        ConfigError: If it holds no run.
        HubError: If it is not there or the Hub does not answer.
    """
    folder, info = fetch_run(repo_id, _FILES)
    digests = {
        file.rfilename: file.lfs.sha256
        for file in info.siblings or ()
        if file.lfs is not None and file.rfilename.endswith(".safetensors")
    }
    names = [file.rfilename for file in info.siblings or ()]
    return Record(folder, read_results(folder), digests, names)
