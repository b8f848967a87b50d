"""`hf-transfer`: dispatch to the verbs. A verb imports heavy libraries only when it runs."""

import atexit
import gc
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.cli.adapt import add_adapt
from hf_transfer.cli.cache import add_cache
from hf_transfer.cli.combine import add_combine
from hf_transfer.cli.doctor import add_doctor
from hf_transfer.cli.export import add_export
from hf_transfer.cli.features import add_features
from hf_transfer.cli.inspect import add_inspect
from hf_transfer.cli.judge import add_compare, add_verify
from hf_transfer.cli.layers import add_layers
from hf_transfer.cli.predict import add_predict
from hf_transfer.cli.pretrain import add_pretrain
from hf_transfer.cli.publish import add_card, add_push, add_report
from hf_transfer.cli.rank import add_rank
from hf_transfer.cli.run import add_run
from hf_transfer.cli.score import add_score
from hf_transfer.cli.search import add_search
from hf_transfer.cli.shift import add_shift
from hf_transfer.cli.shots import add_shots
from hf_transfer.cli.verb import Handler, Parser, guarded, refuse_misspelt
from hf_transfer.errors import ConfigError
from hf_transfer.machine.launcher import end_with_launcher, is_main_process, tell_launcher
from hf_transfer.machine.paths import is_utf_8
from hf_transfer.machine.secrets import traceback_without_secrets, without_secrets

# In the order of --help: what trains, what looks before it, what uses a run, what judges it, the machine.
_VERBS: tuple[Callable[[Any], None], ...] = (
    add_run,
    add_search,
    add_rank,
    add_shift,
    add_adapt,
    add_pretrain,
    add_shots,
    add_combine,
    add_features,
    add_layers,
    add_inspect,
    add_predict,
    add_score,
    add_card,
    add_push,
    add_export,
    add_compare,
    add_verify,
    add_report,
    add_cache,
    add_doctor,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    again = [sys.executable, "-m", "hf_transfer", *words]
    return guarded(lambda: _run_verb(words), again, debug="--debug" in words)


def run_recipe(recipe: Callable[[], Any]) -> NoReturn:
    """Run a recipe's `main` as a script: one-line errors, and an exit code by kind of error.

    Exit code 4 tells that a fold or the final model failed and the rest is reported.
    """

    def run() -> int:
        result = recipe()
        # A launcher ends all processes when one ends badly, and the main one may still be publishing.
        return 4 if getattr(result, "incomplete", False) and is_main_process() else 0

    prepare_process()
    sys.exit(guarded(run, [sys.executable, *sys.argv], debug="--debug" in sys.argv))


def prepare_process() -> None:
    """Print uncaught errors without tokens, end with a launcher, and let the process exit without delay.

    An interpreter that ends looks several times through all objects for cycles. Of torch's and
    transformers' that takes seconds, and what they hold ends with the process anyway.
    """
    sys.excepthook = _show_uncaught
    end_with_launcher()
    gc.freeze()  # what was imported so far stays, and need not be looked at again
    atexit.register(gc.freeze)


def _show_uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print an uncaught error without tokens; replaces `sys.excepthook`."""
    text = traceback_without_secrets(error)
    print(text, file=sys.stderr, end="")
    tell_launcher(without_secrets(f"{type(error).__name__}: {error}"), text)


def _run_verb(words: list[str]) -> int:
    for word in words:
        if not is_utf_8(word):
            raise ConfigError(f"{word!r} is not UTF-8. Rename the file or folder, e.g. by convmv.")
    parser = _parser()
    if words[:1] == ["run"]:  # all that follows the recipe's name is the recipe's
        options, settings = parser.parse_args(words[:2]), words[2:]
    else:
        options, settings = parser.parse_known_args(words)
    handler: Handler | None = getattr(options, "handler", None)
    if handler is None:
        parser.print_help()
        return 0
    if settings and not options.takes_settings:
        raise ConfigError(f"Unknown argument {settings[0]!r}. See `hf-transfer {words[0]} --help`.")
    options.settings = settings
    if settings and options.takes_settings and words[:1] != ["run"]:
        refuse_misspelt(settings, options.parser)
    return handler(options)


def _parser() -> Parser:
    parser = Parser(
        prog="hf-transfer", description="Fine-tune under cross-validation, and publish the result."
    )
    parser.add_argument("--version", action="version", version=f"hf-transfer-kit {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for add in _VERBS:
        add(verbs)
    return parser
