"""The verbs of `hf-transfer`. Nothing heavy is imported before a verb needs it."""

import argparse
import atexit
import gc
import json
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, NoReturn

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.errors import ConfigError, LaunchError, TransferError
from hf_transfer.machine.launcher import is_heard, is_main_process, launch, tell_launcher
from hf_transfer.machine.secrets import scrubbed, scrubbed_traceback
from hf_transfer.machine.wording import visible

Handler = Callable[[argparse.Namespace], int]

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; gives the exit code that the errors' tree says."""
    words = list(sys.argv[1:] if argv is None else argv)
    again = [sys.executable, "-m", "hf_transfer", *words]
    return _guarded(lambda: _run_verb(words), again, debug="--debug" in words)


def run_recipe(recipe: Callable[[], Any]) -> NoReturn:
    """Run a recipe's `main` as a script: errors in one line, exit code by their kind.

    Exit code 4 tells that a fold or the final model failed and the rest is reported.
    """

    def run() -> int:
        result = recipe()
        # A launcher ends all processes when one ends badly, and the main one may still be publishing.
        return 4 if getattr(result, "incomplete", False) and is_main_process() else 0

    prepare_process()
    sys.exit(_guarded(run, [sys.executable, *sys.argv], debug="--debug" in sys.argv))


def prepare_process() -> None:
    """Have what nobody catches shown without tokens, and the process end at once when it is over.

    An interpreter that ends looks several times through all objects for cycles. Of torch's and
    transformers' that takes seconds, and what they hold ends with the process anyway.
    """
    sys.excepthook = _show_uncaught
    gc.freeze()  # what was imported so far stays, and need not be looked at again
    atexit.register(gc.freeze)


def _guarded(run: Callable[[], int], again: Sequence[str], *, debug: bool) -> int:
    """Give the exit code of `run`; `again` is the command that would do the same in another process."""
    try:
        return run()
    except LaunchError as needed:
        return launch(again, needed.num_processes)
    except TransferError as error:
        if debug:
            print(visible(scrubbed_traceback(error)), file=sys.stderr, end="")
        reason = visible(scrubbed(f"{type(error).__name__}: {error}"))
        if not is_heard():
            print(reason, file=sys.stderr)
        tell_launcher(reason, reason)
        return error.exit_code
    except KeyboardInterrupt as stopped:
        if is_main_process() or not is_heard():
            print(
                f"Stopped by {str(stopped) or 'SIGINT'}. The same command goes on where it stopped.",
                file=sys.stderr,
            )
        return getattr(stopped, "exit_code", _INTERRUPTED)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _show_uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print what nobody has caught, without tokens; takes the place of `sys.excepthook`."""
    text = scrubbed_traceback(error)
    print(text, file=sys.stderr, end="")
    tell_launcher(scrubbed(f"{type(error).__name__}: {error}"), text)


def _run_verb(words: list[str]) -> int:
    parser = _parser()
    if words[:1] == ["run"]:  # all that follows the recipe's name is the recipe's
        options, settings = parser.parse_args(words[:2]), words[2:]
    else:
        options, settings = parser.parse_known_args(words)
    handler: Handler | None = getattr(options, "handler", None)
    if handler is None:
        parser.print_help()
        return 0
    if settings and handler not in (_run, _inspect, _search, _rank):
        raise ConfigError(f"Unknown argument {settings[0]!r}. See `hf-transfer {words[0]} --help`.")
    options.settings = settings
    return handler(options)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message[0].upper()}{message[1:]}. See `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hf-transfer", description="Fine-tune under cross-validation, and publish the result."
    )
    parser.add_argument("--version", action="version", version=f"hf-transfer-kit {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    _add_learning(verbs)
    _add_looking(verbs)
    _add_using(verbs)
    _add_judging(verbs)
    cache = _verb(
        verbs,
        "cache",
        _cache,
        "show what is kept on disk for later runs: encoded rows, frozen layers' output",
    )
    cache.add_argument("--clear", action="store_true", help="remove all of it")
    _verb(verbs, "doctor", _doctor, "check versions, devices, the Hub and the package's name")
    return parser


def _add_learning(verbs: Any) -> None:
    """What trains."""
    run = _verb(verbs, "run", _run, "run a recipe; what follows its name are its settings")
    run.add_argument("recipe", nargs="?", help="its name, e.g. sentiment; left out, the names are listed")
    search = _verb(
        verbs, "search", _search, "find which layers should learn and at which rate; settings may follow"
    )
    search.add_argument("recipe", help="its name, e.g. sentiment")
    search.add_argument(
        "--mode",
        choices=("design-slice", "nested", "shared"),
        help="by which rows to choose; a slice from 1,000 rows on, else inside each fold",
    )
    search.add_argument("--exhaustive", action="store_true", help="try everything under the real folds")
    search.add_argument(
        "--max_hours",
        type=float,
        metavar="X",
        help="stop in good order when they are over; asked for in a terminal",
    )
    search.add_argument("--dry_run", action="store_true", help="say what it would try, and what that costs")
    rank = _verb(verbs, "rank", _rank, "show which of some pretrained models is a good start for a data set")
    rank.add_argument(
        "dataset",
        help="what --dataset takes; other settings may follow, such as --max_rows, --num_folds, --output_dir",
    )
    rank.add_argument("models", nargs="+", metavar="MODEL", help="what --base_model takes")
    rank.add_argument("--kind", choices=("image", "text", "tokens"), help="found by itself when not given")
    rank.add_argument(
        "--num_repeats", "--repeats", type=int, metavar="N", help="by the number of rows when not given"
    )
    rank.add_argument(
        "--prior",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="what is known of a model beforehand, e.g. its accuracy on ImageNet; shown beside its score",
    )


def _add_looking(verbs: Any) -> None:
    """What looks at a model or at data before anything is trained."""
    layers = _verb(
        verbs, "layers", _layers, "show a model's layer groups, and what a choice of them would freeze"
    )
    layers.add_argument("model", help="Hub id, folder, builtin:NAME or timm:ARCH")
    layers.add_argument(
        "--trainable", default="all", metavar="SPEC", help="head, last:2, from:NAME, globs, …"
    )
    layers.add_argument(
        "--norm", default="auto", choices=("auto", "freeze", "train"), help="normalisation layers"
    )
    layers.add_argument(
        "--learning_rate",
        "--lr",
        default="auto",
        metavar="X",
        help="of the head; auto: as a run would choose",
    )
    layers.add_argument("--layer_decay", default="auto", metavar="X", help="factor per group below it")
    inspect = _verb(verbs, "inspect", _inspect, "show a data set's labels, duplicates and folds before a run")
    inspect.add_argument("dataset", help="what --dataset takes; its other settings may follow")
    inspect.add_argument("--kind", choices=("image", "text", "tokens"), help="found by itself when not given")


def _add_using(verbs: Any) -> None:
    """What uses or publishes a run."""
    predict = _verb(verbs, "predict", _predict, "label new inputs with a run's final model")
    predict.add_argument("run", metavar="RUN", help="the run's folder, or user/name of one on the Hub")
    predict.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="texts, pictures, or a file or folder of them"
    )
    predict.add_argument(
        "--raw", action="store_true", help="leave probabilities as the model gives them, not calibrated"
    )
    predict.add_argument(
        "--threshold",
        choices=("f1", "balanced_accuracy"),
        help="of two classes, choose by a probability that is tuned for this on the out-of-fold rows",
    )
    predict.add_argument(
        "--trust_remote_code", action="store_true", help="run code that lies in the model's folder"
    )
    card = _verb(verbs, "card", _card, "write a run's model card again")
    card.add_argument("run", metavar="RUN", help="the run's folder")
    push = _verb(verbs, "push", _push, "publish a run on the Hub; safe to repeat")
    push.add_argument("run", metavar="RUN", help="the run's folder")
    push.add_argument("repo", metavar="REPO", help="user/name")
    push.add_argument("--private", action="store_true", help="make the repository private")


def _add_judging(verbs: Any) -> None:
    """What judges runs."""
    compare = _verb(verbs, "compare", _compare, "say which of several runs on the same folds is better")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")
    verify = _verb(
        verbs, "verify", _verify, "make a run's folds and numbers again from what it left, without training"
    )
    verify.add_argument("run", metavar="RUN", help="the run's folder, or user/name of one on the Hub")
    report = _verb(verbs, "report", _report, "write a run as one page for a browser, verdicts first")
    report.add_argument("run", metavar="RUN", help="the run's folder")
    report.add_argument(
        "--against", nargs="+", default=[], metavar="RUN", help="runs on the same folds to set it beside"
    )
    report.add_argument(
        "--open-nothing", action="store_true", help="leave the data set closed: the page shows no rows of it"
    )


def _verb(verbs: Any, name: str, handler: Handler, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=help.capitalize() + ".")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parser.set_defaults(handler=handler)
    return parser


def _run(options: argparse.Namespace) -> int:
    from hf_transfer.cli.recipes import recipe_names, recipe_path

    if options.recipe is None:
        print("\n".join(recipe_names()))
        return 0
    path = recipe_path(options.recipe)
    sys.argv = [str(path), *options.settings]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _search(options: argparse.Namespace) -> int:
    from hf_transfer.cli.recipes import load_recipe
    from hf_transfer.runs.hub.push import preflight, publish
    from hf_transfer.selection.search.asking import ask_hours, can_ask
    from hf_transfer.selection.search.report import cost_text, search_text
    from hf_transfer.selection.search.run import SearchOptions, open_study, predict_cost, search

    wanted = SearchOptions(options.mode, options.exhaustive, options.max_hours)
    config, task, data = load_recipe(options.recipe, options.settings)
    if options.dry_run:
        cost = predict_cost(open_study(task, data, config), wanted)
        _show(options, (cost, cost_text(cost)))
        return 0
    preflight(config)
    if options.max_hours is None and can_ask():
        cost = predict_cost(open_study(task, data, config), wanted)
        wanted = replace(wanted, max_hours=ask_hours(cost))
    found = search(task, data, config, wanted)
    if found.get("judged"):
        publish(config, quiet=options.json)
    _show(options, (found, search_text(config.output_dir, found)))
    return 0


def _layers(options: argparse.Namespace) -> int:
    from hf_transfer.cli.layers import describe_layers

    _show(options, describe_layers(options))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from hf_transfer.cli.layers import describe_data

    _show(options, describe_data(options))
    return 0


def _rank(options: argparse.Namespace) -> int:
    from hf_transfer.selection.rank.command import rank_command

    _show(options, rank_command(options))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from hf_transfer.study.final.predict import predict_inputs

    found = predict_inputs(
        options.run,
        options.inputs,
        raw=options.raw,
        threshold=options.threshold,
        trust_remote_code=options.trust_remote_code,
    )
    _show(options, found)
    return 0


def _card(options: argparse.Namespace) -> int:
    from hf_transfer.report.card.card import write_card

    path = write_card(options.run)
    _show(options, ({"card": str(path)}, str(path)))
    return 0


def _push(options: argparse.Namespace) -> int:
    from hf_transfer.runs.hub.push import push

    url = push(options.run, options.repo, private=options.private)
    _show(options, ({"url": url}, url))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from hf_transfer.report.compare import compare_runs, leave_beside, open_runs

    runs = open_runs(options.runs)
    found = compare_runs(runs)
    for left in leave_beside(runs):
        print(visible(scrubbed(left)), file=sys.stderr)
    _show(options, (found.to_dict(), found.to_text()))
    return 0


def _report(options: argparse.Namespace) -> int:
    from hf_transfer.report.page.page import write_report

    path = write_report(options.run, against=options.against, with_data=not options.open_nothing)
    _show(options, ({"report": str(path)}, str(path)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from hf_transfer.verify.verify_run import describe_checks, refuse_wrong, verify_run

    checks = verify_run(options.run)
    _show(options, describe_checks(checks))
    refuse_wrong(checks, options.run)
    return 0


def _cache(options: argparse.Namespace) -> int:
    from hf_transfer.cli.layers import describe_cache

    _show(options, describe_cache(options))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from hf_transfer.cli.doctor import examine

    checks, text, healthy = examine()
    _show(options, (checks, text))
    return 0 if healthy else 2


def _show(options: argparse.Namespace, found: tuple[Any, str]) -> None:
    """Print a result for a program or for a person."""
    value, text = found
    print(visible(json.dumps(value, ensure_ascii=False, allow_nan=False) if options.json else text))
