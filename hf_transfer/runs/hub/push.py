"""Publish a run: check permissions before training, then push one commit that is safe to repeat.

`push` compares what the repository holds with what the run holds and sends the difference, so a
lost answer, a second try and a second call all end in the same state without a second commit.
"""

import shlex
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, DataError, HubError
from hf_transfer.machine.launcher import check_launched, is_main_process
from hf_transfer.machine.lock import refuse_running
from hf_transfer.machine.network import HUB_ID
from hf_transfer.machine.secrets import without_secrets
from hf_transfer.runs.card_file import merge_card
from hf_transfer.runs.hub.client import (
    ANSWER_SECONDS,
    LOG_IN,
    TAG,
    DamagedError,
    client,
    download,
    explained,
    patiently,
    say,
    within,
)
from hf_transfer.runs.hub.files import check_card, collect, front_matter, is_of_model, is_same
from hf_transfer.runs.run_folder import check_output

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

PREFLIGHT_SECONDS = 15.0  # a run should not wait longer to learn that nobody answers,
PREFLIGHT_ANSWER_SECONDS = 7.5  # and so long for one answer
RETRY_SECONDS = 300.0  # no new attempt to push after this time
_NO_MODEL = {".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}


def check_repo_id(name: str) -> None:
    """Check that a repository id is `user/name`, before any request.

    Raises:
        ConfigError: If it is not two names joined by a slash, in the Hub's alphabet.
    """
    if "/" not in name or not HUB_ID.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a repository to push to. Write user/name: letters, digits, '-', '_' and '.', "
            "at most 96 of them, no '-' or '.' at either end, no '--' or '..', no '.git' at the end."
        )


def preflight(config: RunConfig) -> None:
    """Check before training that the result can be saved and pushed; sends nothing.

    Raises:
        ConfigError: If the output folder holds something else, or the repository's name is not one.
        HubError: If there is no usable token, the place is not this account's, or nobody answers.
        LaunchError: If folds are to be trained side by side and this process is alone.
    """
    check_launched(config.folds_per_device)
    if not is_main_process():
        return
    check_output(config)
    if config.push_to_hub is None:
        return
    check_repo_id(config.push_to_hub)
    advice = (
        "Nothing has been computed yet. Fix it, or leave out push_to_hub and publish afterwards: "
        f"{_command(config.output_dir, config.push_to_hub, config.private)}"
    )
    with explained(advice), client(PREFLIGHT_ANSWER_SECONDS) as api:
        check = partial(_check_place, api, str(config.push_to_hub), config.private)
        patiently(partial(within, check, PREFLIGHT_SECONDS), PREFLIGHT_SECONDS)


def push(run: str | Path, repo_id: str, *, private: bool = False, scored: bool = False) -> str:
    """Push this run's card, results and model; return the repository's address.

    Args:
        run: Folder of a finished run. It is only read.
        repo_id: `user/name`; made if it does not exist.
        private: Make it so. A repository that is already public is refused.
        scored: Publish what `score` kept in the run's folder, too.

    Raises:
        ConfigError: If `repo_id` is not a repository's name, or a run is still at work in the folder.
        HubError: If the folder is not fit to be published, or the Hub refuses or does not answer.
    """
    check_repo_id(repo_id)
    refuse_running(Path(run), "What it holds changes under a push; wait until that run is over.")
    advice = f"Nothing is lost; the run is as it was. Go on with: {_command(run, repo_id, private)}"
    with explained(advice):
        files = collect(Path(run), scored=scored)
        with client(ANSWER_SECONDS) as api:
            check = partial(_check_account, api, repo_id)
            patiently(partial(within, check, ANSWER_SECONDS), RETRY_SECONDS)
            patiently(lambda: _synchronise(api, repo_id, files, private), RETRY_SECONDS)
            return without_secrets(f"{api.endpoint}/{repo_id}")


def _check_place(api: "HfApi", repo_id: str, private: bool) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    _check_account(api, repo_id)
    try:
        info = api.model_info(repo_id, files_metadata=True)
    except RepositoryNotFoundError:
        return  # push makes it
    _check_repo(info, _remote_card(api, info), private)


def _check_account(api: "HfApi", repo_id: str) -> None:
    """Check that there is a token with write permission for `repo_id`."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"There is no Hub token. {LOG_IN}")
    who = api.whoami()
    user, token = who["name"], who.get("auth", {}).get("accessToken", {})
    namespace = repo_id.partition("/")[0]
    writable = [user, *(org["name"] for org in who.get("orgs") or () if org.get("roleInOrg") != "read")]
    if namespace.casefold() not in {str(name).casefold() for name in writable}:
        raise HubError(
            f"{repo_id!r} is under {namespace!r}, but the token is for {user!r}, who may write under "
            f"{', '.join(map(str, writable))}."
        )
    if token.get("role") == "read" or not _covers(token.get("fineGrained"), {namespace, repo_id}):
        raise HubError(f"The token of {user!r} may not write to {repo_id!r}. {LOG_IN}")


def _covers(fine_grained: dict[str, Any] | None, names: set[str]) -> bool:
    """Whether a fine-grained token may write to one of `names`; True for other tokens."""
    writable = {
        scope["entity"].get("name", "").casefold()
        for scope in (fine_grained or {}).get("scoped", ())
        if any(word.startswith("repo.") and word.endswith("write") for word in scope["permissions"])
    }
    return not fine_grained or not writable.isdisjoint({name.casefold() for name in names})


def _check_repo(info: "ModelInfo", card: str | None, private: bool) -> None:
    """Refuse to publish private data, or to overwrite somebody else's repository."""
    if private and not info.private:
        raise HubError(f"{info.id} exists and is public. Make it private in its settings, or choose another.")
    others = sorted({file.rfilename for file in info.siblings or ()} - _NO_MODEL)
    if others and not _is_ours(card or ""):
        raise HubError(
            f"{info.id} already holds another model ({', '.join(others[:3])}): its card has no tag "
            f"{TAG!r}. Choose another name, or add the tag to its card to have it replaced."
        )


def _is_ours(card: str) -> bool:
    """Whether the kit wrote a card, by its tag, or by a mark if the tags were changed."""
    try:
        return TAG in (front_matter(card).get("tags") or ()) or "<!-- hf-transfer:begin " in card
    except HubError:
        return False


def _synchronise(api: "HfApi", repo_id: str, files: Mapping[str, Path], private: bool) -> None:
    """Make the repository hold `files`, with one commit at most; safe to repeat."""
    api.create_repo(repo_id, private=private or None, exist_ok=True)
    info = api.model_info(repo_id, files_metadata=True)
    card = _remote_card(api, info)
    _check_repo(info, card, private)
    contents: dict[str, Path | bytes] = {**files, "README.md": _merged(card, files["README.md"])}
    if not _differing(info, contents):
        say(f"{repo_id} holds exactly these files already; there is nothing to send.")
        return
    oid = _commit(api, info, contents)
    wrong = _differing(api.model_info(repo_id, revision=oid, files_metadata=True), contents)
    if wrong:
        raise HubError(f"After the push {repo_id} does not hold what was sent: {', '.join(wrong)}.")


def _commit(api: "HfApi", info: "ModelInfo", contents: Mapping[str, Path | bytes]) -> str:
    """Send the differing files, unless somebody else committed meanwhile; return the commit's id."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    names = _differing(info, contents)
    say(f"Sending to {info.id}: {', '.join(names)}")
    changes: list[Any] = [
        CommitOperationAdd(name, contents[name]) if name in contents else CommitOperationDelete(name)
        for name in names
    ]
    message = "Push a run of hf-transfer-kit"
    try:
        with warnings.catch_warnings():
            # The predictions belong to the model: they are what its numbers are computed from.
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            return api.create_commit(info.id, changes, commit_message=message, parent_commit=info.sha).oid
    except HfHubHTTPError as error:
        now = api.model_info(info.id, files_metadata=True) if error.response.status_code == 412 else info
        if _differing(now, contents):
            raise
        return str(now.sha)  # an earlier attempt, given up as unanswered, has arrived after all


def _differing(info: "ModelInfo", contents: Mapping[str, Path | bytes]) -> list[str]:
    """Paths that are missing, different, or left from an earlier model."""
    there = {file.rfilename: file for file in info.siblings or ()}
    stale = [name for name in there if name not in contents and is_of_model(name)]
    return stale + [
        name for name in contents if name not in there or not is_same(contents[name], there[name])
    ]


def _remote_card(api: "HfApi", info: "ModelInfo") -> str | None:
    file = next((file for file in info.siblings or () if file.rfilename == "README.md"), None)
    if file is None:
        return None
    data = download(api, info.id, file.rfilename, str(info.sha), file.size or 0)
    if not is_same(data, file):
        raise DamagedError(f"README.md of {info.id} arrived damaged.")
    return data.decode()


def _merged(remote: str | None, ours: Path) -> bytes:
    """Merge the new card into the one on the Hub, and keep what a person wrote there."""
    text = ours.read_text(encoding="utf-8")
    if remote is not None and remote != text:
        try:
            text = merge_card(remote, text)
            check_card(text)
        except (DataError, HubError) as error:
            raise HubError(f"The card on the Hub cannot be brought up to date. {error}") from error
    return text.encode()


def _command(run: str | Path, repo_id: str, private: bool) -> str:
    return f"hf-transfer push {shlex.quote(str(run))} {repo_id}{' --private' if private else ''}"
