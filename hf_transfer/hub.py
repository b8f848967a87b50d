"""Publishing: may this account push there, asked before training; then one commit, safe to repeat.

`push` compares what the repository holds with what the run holds and sends the difference, so a
lost answer, a second try and a second call all end in the same state without a second commit.
"""

import hashlib
import io
import json
import math
import os
import random
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config import RunConfig
from hf_transfer.errors import ConfigError, DataError, HubError, TransferError
from hf_transfer.run_folder import check_output

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

TAG = "hf-transfer-kit"  # among the tags of a card that the kit wrote
ANSWER_SECONDS = 60.0  # longest silence of the server in the middle of a request
PREFLIGHT_SECONDS = 15.0  # a run should not wait longer to learn that nobody answers
RETRY_SECONDS = 300.0  # no new attempt to push after this time
FIRST_PAUSE = 1.0  # seconds; doubles with each attempt

_AT_ROOT = ("README.md", "results.json", "config.yaml", "folds.parquet", "predictions.parquet")
_IN_MODEL = {".safetensors", ".json", ".txt", ".model", ".jinja"}
_TRAINING_STATE = re.compile(
    r"\.|checkpoint|optimizer|scheduler|scaler|rng_state|random_states|training_args|trainer_state"
)
_BINARY = {".safetensors", ".parquet", ".png"}
_SECRET = re.compile(
    rb"hf_[A-Za-z0-9]{30,}|(?<![A-Z0-9])(AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|gh[pousr]_[A-Za-z0-9]{36,}"
    rb"|github_pat_\w{22,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
# Left from an earlier push they would be loaded in place of the new weights.
_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write."
_REFUSALS = {
    401: f"The Hub does not accept the token. {_LOG_IN}",
    403: "The token may not write there. Use one that may, or another repository.",
    404: "The Hub does not know this place, or does not show it to this token.",
    412: "Somebody else changed the repository in the same moment. Look at it before pushing again.",
    429: "The Hub asks for patience.",
}
_NO_MODEL = {".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}


def check_repo_id(name: str) -> None:
    """Accept `user/name`, before any request is made.

    Raises:
        ConfigError: If it is not two names joined by a slash, in the Hub's alphabet.
    """
    word = r"(?![.-])[\w.-]{1,96}(?<![.-])"
    if not re.fullmatch(f"{word}/{word}", name, re.ASCII) or re.search(r"--|\.\.|\.git$", name):
        raise ConfigError(
            f"{name!r} is not a repository to push to. Write user/name: letters, digits, '-', '_' and '.', "
            "at most 96 of them, no '-' or '.' at either end, no '--' or '..', no '.git' at the end."
        )


def preflight(config: RunConfig) -> None:
    """Find out before training whether its result may be kept and pushed; nothing is sent.

    Raises:
        ConfigError: If the output folder holds something else, or the repository's name is not one.
        HubError: If there is no usable token, the place is not this account's, or nobody answers.
    """
    if not _is_main_process():
        return
    check_output(config)
    if config.push_to_hub is None:
        return
    check_repo_id(config.push_to_hub)
    advice = (
        "Nothing has been computed yet. Mend it, or leave out push_to_hub and publish afterwards: "
        f"{_command(config.output_dir, config.push_to_hub, config.private)}"
    )
    with _explained(advice), _client(PREFLIGHT_SECONDS / 2) as api:
        _patiently(lambda: _check_place(api, str(config.push_to_hub), config.private), PREFLIGHT_SECONDS)


def push(run: str | Path, repo_id: str, *, private: bool = False) -> str:
    """Bring the repository to hold this run's card, results and model; give its address.

    Args:
        run: Folder of a finished run. It is only read.
        repo_id: `user/name`; made if it does not exist.
        private: Make it so. A repository that is already public is refused.

    Raises:
        ConfigError: If `repo_id` is not a repository's name.
        HubError: If the folder is not fit to be published, or the Hub refuses or does not answer.
    """
    check_repo_id(repo_id)
    advice = f"Nothing is lost; the run is as it was. Go on with: {_command(run, repo_id, private)}"
    with _explained(advice):
        files = _collect(Path(run))
        with _client(ANSWER_SECONDS) as api:
            _patiently(lambda: _check_account(api, repo_id), RETRY_SECONDS)
            _patiently(lambda: _synchronise(api, repo_id, files, private), RETRY_SECONDS)
            return f"{api.endpoint}/{repo_id}"


def publish(config: RunConfig) -> None:
    """Print a finished run's summary, write its card, and push it if the settings say where.

    Raises:
        HubError: If the push failed; the run and its card are complete, and the message says how to go on.
    """
    if not _is_main_process():
        return
    from hf_transfer.card import write_card
    from hf_transfer.results import read_results
    from hf_transfer.tables import summary_text

    run = config.output_dir
    print(summary_text(read_results(run)))
    print(f"\nThe card: {write_card(run)}")
    if config.push_to_hub is not None:
        print(f"Published: {push(run, config.push_to_hub, private=config.private)}")


def check_card(text: str) -> None:
    """Check what a card's front matter claims the way the Hub does, without asking it.

    Raises:
        HubError: Naming all that is wrong at once.
    """
    data = _front_matter(text)
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


def _front_matter(text: str) -> dict[str, Any]:
    found = re.match(r"---\r?\n(.*?)\r?\n---\r?(\n|$)", text, re.DOTALL)
    if not found:
        raise HubError("README.md does not begin with a front matter between two lines of ---.")
    try:
        data = yaml.safe_load(found[1])
    except yaml.YAMLError as error:  # also a tuple or a numpy number, written as a Python object
        raise HubError(f"The front matter of README.md is not YAML: {_one_line(error)}") from error
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


def _collect(run: Path) -> dict[str, Path]:
    """Map each path in the repository to its file: an explicit list, never all there is."""
    found = {name: run / name for name in _AT_ROOT if (run / name).exists()}
    found |= {f"plots/{path.name}": path for path in sorted(run.glob("plots/*"))}
    for path in sorted(path for path in run.glob("model/**/*") if not path.is_dir()):
        found.setdefault(path.relative_to(run / "model").as_posix(), path)
    files = {name: path for name, path in found.items() if _may_go(path, run)}
    for path in (path for name, path in found.items() if name not in files):
        _say(f"Not pushed: {path}")
    problems = [*_missing(run, files), *_unreadable(files), *_secrets(files)]
    if problems:
        raise HubError("\n".join(problems))
    return files


def _may_go(path: Path, run: Path) -> bool:
    """Whether it is a real file of this run, and of a kind that is published."""
    target, home = path.resolve(), run.resolve()
    if not (target.is_file() and target.is_relative_to(home)):
        return False
    parts = path.relative_to(run).parts
    allowed = {"plots": {".png"}, "model": _IN_MODEL}.get(parts[0], {path.suffix})
    hidden = any(map(_TRAINING_STATE.match, {*parts, *target.relative_to(home).parts}))
    return path.suffix in allowed and not hidden


def _missing(run: Path, files: Mapping[str, Path]) -> Iterator[str]:
    if "results.json" not in files:
        yield f"{run.absolute()} holds no results.json, so it is not a finished run."
        return
    if "README.md" not in files:
        yield f"{run} holds no README.md. Write it with: hf-transfer card {shlex.quote(str(run))}"
    weights = any(_WEIGHTS.fullmatch(name) for name in files)
    if not (weights and "config.json" in files) and _final(files["results.json"]) != "none":
        yield f"{run / 'model'} must hold config.json and model.safetensors, as final is not 'none'."


def _final(results: Path) -> str | None:
    try:
        return str(json.loads(results.read_text(encoding="utf-8"))["final"]["kind"])
    except (ValueError, TypeError, KeyError):  # what is wrong with the file is told by _unreadable
        return None


def _unreadable(files: Mapping[str, Path]) -> Iterator[str]:
    readers = {"README.md": check_card, "config.yaml": yaml.safe_load, "results.json": _strict_json}
    for name in readers.keys() & files.keys():
        try:
            readers[name](files[name].read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError, HubError) as error:
            yield f"{files[name]} cannot be read back: {_one_line(error)}"


def _strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a number in JSON.")

    return json.loads(text, parse_constant=refuse)


def _secrets(files: Mapping[str, Path]) -> Iterator[str]:
    for path in files.values():
        if path.suffix not in _BINARY and _SECRET.search(path.read_bytes()):
            yield f"{path} holds something that looks like a token or a private key. Take it out first."


def _check_place(api: "HfApi", repo_id: str, private: bool) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    _check_account(api, repo_id)
    try:
        info = api.model_info(repo_id, files_metadata=True)
    except RepositoryNotFoundError:
        return  # push makes it
    _check_repo(info, _remote_card(api, info), private)


def _check_account(api: "HfApi", repo_id: str) -> None:
    """See that there is a token that may write where `repo_id` is."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"There is no Hub token. {_LOG_IN}")
    who = api.whoami()
    user, token = who.get("name"), who.get("auth", {}).get("accessToken", {})
    namespace = repo_id.partition("/")[0]
    writable = [user, *(org["name"] for org in who.get("orgs") or () if org.get("roleInOrg") != "read")]
    if namespace.casefold() not in {str(name).casefold() for name in writable}:
        raise HubError(
            f"{repo_id!r} is under {namespace!r}, but the token is for {user!r}, who may write under "
            f"{', '.join(map(str, writable))}."
        )
    if token.get("role") == "read" or not _covers(token.get("fineGrained"), {namespace, repo_id}):
        raise HubError(f"The token of {user!r} may not write to {repo_id!r}. {_LOG_IN}")


def _covers(fine_grained: dict[str, Any] | None, names: set[str]) -> bool:
    """Whether a token of chosen permissions, where it is one, may write to one of `names`."""
    places = {
        scope["entity"].get("name", "").casefold()
        for scope in (fine_grained or {}).get("scoped", ())
        if any(word.startswith("repo.") and word.endswith("write") for word in scope["permissions"])
    }
    return not fine_grained or not places.isdisjoint({name.casefold() for name in names})


def _check_repo(info: "ModelInfo", card: str | None, private: bool) -> None:
    """Refuse to publish what should be private, and to write over what somebody else made."""
    if private and not info.private:
        raise HubError(f"{info.id} exists and is public. Make it private in its settings, or choose another.")
    others = sorted({file.rfilename for file in info.siblings or ()} - _NO_MODEL)
    if others and not _is_ours(card or ""):
        raise HubError(
            f"{info.id} already holds another model ({', '.join(others[:3])}): its card has no tag "
            f"{TAG!r}. Choose another name, or add the tag to its card to have it replaced."
        )


def _is_ours(card: str) -> bool:
    """Tell a card of the kit by its tag; or by a mark, if a person has put in other tags."""
    try:
        return TAG in (_front_matter(card).get("tags") or ()) or "<!-- hf-transfer:begin " in card
    except HubError:
        return False


def _synchronise(api: "HfApi", repo_id: str, files: Mapping[str, Path], private: bool) -> None:
    """Make at most one commit after which the repository holds `files`; may be repeated at will."""
    api.create_repo(repo_id, private=private or None, exist_ok=True)
    info = api.model_info(repo_id, files_metadata=True)
    card = _remote_card(api, info)
    _check_repo(info, card, private)
    wanted: dict[str, Path | bytes] = {**files, "README.md": _merged(card, files["README.md"])}
    if not _differing(info, wanted):
        _say(f"{repo_id} holds exactly these files already; there is nothing to send.")
        return
    oid = _commit(api, info, wanted)
    wrong = _differing(api.model_info(repo_id, revision=oid, files_metadata=True), wanted)
    if wrong:
        raise HubError(f"After the push {repo_id} does not hold what was sent: {', '.join(wrong)}.")


def _commit(api: "HfApi", info: "ModelInfo", wanted: Mapping[str, Path | bytes]) -> str:
    """Send what differs from `info`, if nobody came between; give the id of the commit that holds it."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    names = _differing(info, wanted)
    _say(f"Sending to {info.id}: {', '.join(names)}")
    changes: list[Any] = [
        CommitOperationAdd(name, wanted[name]) if name in wanted else CommitOperationDelete(name)
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
        if _differing(now, wanted):
            raise
        return str(now.sha)  # an earlier attempt, given up as unanswered, has arrived after all


def _differing(info: "ModelInfo", wanted: Mapping[str, Path | bytes]) -> list[str]:
    """Name the files that are absent, other than wanted, or weights of an earlier push."""
    there = {file.rfilename: file for file in info.siblings or ()}
    stale = [name for name in there if name not in wanted and _WEIGHTS.fullmatch(name)]
    return stale + [name for name in wanted if name not in there or not _is_same(wanted[name], there[name])]


def _is_same(content: Path | bytes, file: "RepoSibling") -> bool:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size != file.size:
        return False
    if file.lfs is None:
        return _git_oid(content if isinstance(content, bytes) else content.read_bytes()) == file.blob_id
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _remote_card(api: "HfApi", info: "ModelInfo") -> str | None:
    file = next((file for file in info.siblings or () if file.rfilename == "README.md"), None)
    if file is None:
        return None
    with TemporaryDirectory() as folder:  # not the cache, which nobody would look at again
        path = api.hf_hub_download(info.id, file.rfilename, revision=info.sha, local_dir=folder)
        data = Path(path).read_bytes()
    if _git_oid(data) != file.blob_id:  # the client looks at the size only
        raise ConnectionError(f"README.md of {info.id} arrived damaged.")
    return data.decode()


def _merged(remote: str | None, ours: Path) -> bytes:
    """Keep what a person wrote into the card on the Hub; replace what the kit wrote."""
    text = ours.read_text(encoding="utf-8")
    if remote is not None and remote != text:
        from hf_transfer.card import merge_card

        try:
            text = merge_card(remote, text)
            check_card(text)
        except (DataError, HubError) as error:
            raise HubError(f"The card on the Hub cannot be brought up to date. {error}") from error
    return text.encode()


@contextmanager
def _client(seconds: float) -> Iterator["HfApi"]:
    """Give a client that waits for an answer so long and no longer; by itself it waits for ever.

    Large files go over plain HTTP meanwhile: the xet uploader takes no time limit and no answer for a no.
    """
    from huggingface_hub import HfApi, constants, set_client_factory
    from huggingface_hub.utils import _http

    factory, xet_off = _http._GLOBAL_CLIENT_FACTORY, constants.HF_HUB_DISABLE_XET

    def bounded() -> Any:
        client = factory()  # perhaps a person's own, with their proxy and certificates
        client.timeout = seconds
        return client

    set_client_factory(bounded)
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield HfApi(library_name=TAG)
    finally:
        constants.HF_HUB_DISABLE_XET = xet_off
        set_client_factory(factory)


def _patiently(step: Callable[[], None], seconds: float) -> None:
    """Repeat a step that may be repeated, while the fault looks passing and time is left."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return step()
        except _faults() as error:
            # Not the shared generator: a retry must not change the run's random numbers.
            wait = _asked_pause(error) or random.SystemRandom().uniform(pause / 2, pause)
            if not _may_pass(error) or time.monotonic() + wait > deadline:
                raise
            _say(f"{_in_words(error)} Trying again in {wait:.0f} s.")
        time.sleep(wait)
        pause = min(2 * pause, 30.0)


def _faults() -> tuple[type[Exception], ...]:
    """What the client raises. Its HTTP library has another name in each major version."""
    from huggingface_hub.errors import HfHubHTTPError

    http = next(base for base in HfHubHTTPError.__mro__ if base.__module__.startswith("httpx"))
    return (http, OSError, RuntimeError, ValueError)


def _may_pass(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, TransferError | OfflineModeIsEnabled):
        return False
    answer = _answer(error)
    if answer is not None:
        return answer.status_code in (408, 429) or answer.status_code >= 500
    passing = (_faults()[0], ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(cause, passing) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The client hides why a large file could not be sent under a RuntimeError."""
    while error is not None:
        yield error
        error = error.__cause__


def _answer(error: BaseException) -> Any:
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    return next((answer for answer in answers if answer is not None), None)


def _asked_pause(error: BaseException) -> float | None:
    """Seconds that the server asks to wait, by either of its two headers."""
    headers = getattr(_answer(error), "headers", {})
    found = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After", "")) or re.search(
        r"r=0;\s*t=(\d+)", headers.get("RateLimit", "")
    )
    return float(found[1]) if found else None


def _in_words(error: BaseException) -> str:
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import OfflineModeIsEnabled

    answer = _answer(error)
    if isinstance(error, OfflineModeIsEnabled):
        text = "HF_HUB_OFFLINE is set, so nothing is sent. Unset it to publish."
    elif answer is not None:
        status = answer.status_code
        why = _REFUSALS.get(status, "The Hub fails." if status >= 500 else "The Hub refuses.")
        text = f"{why} (HTTP {status}: {_one_line(getattr(error, 'server_message', None) or error)})"
    elif isinstance(error, json.JSONDecodeError):
        text = f"What answers at {constants.ENDPOINT} is not the Hub, perhaps a login page or a proxy."
    elif _may_pass(error):
        text = (
            f"{constants.ENDPOINT} does not answer ({type(error).__name__}). Check the network and the proxy."
        )
    else:
        text = (
            str(error) if isinstance(error, TransferError) else f"{type(error).__name__}: {_one_line(error)}"
        )
    return text.replace(get_token() or "\0", "***")


@contextmanager
def _explained(advice: str) -> Iterator[None]:
    """Turn whatever the client raises into words and what to do next."""
    try:
        yield
    except _faults() as error:
        raise HubError(f"{_in_words(error)}\n{advice}") from error


def _command(run: str | Path, repo_id: str, private: bool) -> str:
    return f"hf-transfer push {shlex.quote(str(run))} {repo_id}{' --private' if private else ''}"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _is_main_process() -> bool:
    """Read what the launcher of several processes sets, without torch."""
    return os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
