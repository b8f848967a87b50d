"""The parts that all verbs share: parser, output, and exit codes."""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DoneEarlyError, LaunchError, TransferError
from hf_transfer.machine.launcher import is_heard, is_main_process, launch, tell_launcher
from hf_transfer.machine.refusals import refusal
from hf_transfer.machine.secrets import traceback_without_secrets, without_secrets
from hf_transfer.machine.wording import visible

if TYPE_CHECKING:
    from hf_transfer.config.run_config import RunConfig

Handler = Callable[[argparse.Namespace], int]

_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser that raises our errors instead of exiting, and knows the names of its flags."""

    def add_argument(self, *names: Any, **how: Any) -> argparse.Action:
        """Add an argument, and note its name if it is a flag."""
        flags = self.__dict__.setdefault("flags", [])  # the first comes from the constructor
        flags.extend(name.removeprefix("--") for name in names if name.startswith("--"))
        return super().add_argument(*names, **how)

    def error(self, message: str) -> NoReturn:
        """Raise the error, with where to read more."""
        raise ConfigError(f"{message[0].upper()}{message[1:]}. See `{self.prog} --help`.")


def add_verb(
    verbs: Any, name: str, handler: Handler, help: str, *, takes_settings: bool = False
) -> argparse.ArgumentParser:
    """Add a verb to the command line; return its parser, for further arguments.

    Args:
        verbs: What `add_subparsers` gave.
        name: The verb.
        handler: What it does with its arguments; gives the exit code.
        help: One line, without a full stop.
        takes_settings: Whether a run's settings may follow; the handler finds them in `settings`.
    """
    parser: Parser = verbs.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        allow_abbrev=not takes_settings,  # --split is a setting, and not short for --split_target
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parser.set_defaults(handler=handler, takes_settings=takes_settings, parser=parser)
    return parser


def refuse_misspelt(settings: Sequence[str], parser: Parser) -> None:
    """Stop at a flag that is nearer to one of the verb's own than to any setting.

    Raises:
        ConfigError: With the name that was meant.
    """
    from hf_transfer.config.flags import setting_names
    from hf_transfer.config.run_config import RunConfig

    known = setting_names(RunConfig)
    for word in settings:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name.removeprefix("no_") in known:
            continue
        near = difflib.get_close_matches(name, [*parser.__dict__["flags"], *known], n=1, cutoff=0.6)
        if near and near[0] in parser.__dict__["flags"]:
            raise ConfigError(
                f"Unknown argument --{name}. Did you mean --{near[0]}? See `{parser.prog} --help`."
            )


# Of which a cluster computes features; other verbs than these, `run` and `search` work in one process.
_PLACED = ("rank", "shift", "adapt", "shots", "combine", "features")


def read_settings(options: argparse.Namespace, defaults: "RunConfig") -> "RunConfig":
    """Read the settings of a verb that trains in one process, or not at all.

    Args:
        options: Of the command line.
        defaults: What is not given.

    Raises:
        ConfigError: If a setting is wrong, or asks for processes or machines that the verb has no use for.
    """
    config, verb = defaults.from_args(defaults, options.settings), options.parser.prog.split()[-1]
    if config.engine != "here" and not (config.engine == "ray" and verb in _PLACED):
        raise ConfigError(
            f"{verb} takes no --engine {config.engine}; run, search, recipes and, as far as features go, "
            f"{', '.join(_PLACED)} take --engine ray. Leave it out."
        )
    shared = {name: getattr(config, name) for name in ("parallel", "folds_per_device")}
    for name, value in shared.items():
        if value != getattr(defaults, name):
            raise ConfigError(
                f"{verb} works in one process, and --{name} {value} is for several, by which run, search and "
                "recipes train. Leave it out."
            )
    refuse_launched(verb)
    return config


def refuse_launched(verb: str) -> None:
    """Stop where several processes were launched, each of which would do all of a verb's work.

    Raises:
        ConfigError: Saying so.
    """
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise ConfigError(
            f"{verb} works in one process, and {processes} were launched. Start it without a launcher."
        )


def add_kind(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told what the inputs are."""
    help = "such as text or image; found by itself when not given"
    parser.add_argument("--kind", metavar="INPUT", help=help)


def add_repeats(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told how often to repeat with other folds."""
    help = "by the number of rows when not given"
    parser.add_argument("--num_repeats", "--repeats", type=int, metavar="N", help=help)


def show(options: argparse.Namespace, found: tuple[Any, str]) -> None:
    """Print a result: as JSON for programs, or as text for people."""
    value, text = found
    print(visible(json.dumps(value, ensure_ascii=False, allow_nan=False) if options.json else text))


def cell(value: Any) -> str:
    """Write a table cell: short numbers, a dash for nothing."""
    if value is None:
        return "-"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.2e}" if isinstance(value, float) else str(value)
    )


def guarded(run: Callable[[], int], again: Sequence[str], *, debug: bool) -> int:
    """Call `run` and return its exit code; errors are printed in one line.

    Args:
        run: What to do.
        again: The command that would do the same in another process.
        debug: Whether to print an error's whole traceback too.
    """
    try:
        return run()
    except DoneEarlyError as done:
        print(visible(str(done)))
        return done.exit_code
    except LaunchError as needed:
        return launch(again, needed.num_processes)
    except TransferError as error:
        return _told(error, debug=debug)
    except KeyboardInterrupt as stopped:
        if is_main_process() or not is_heard():
            print(
                f"Stopped by {str(stopped) or 'SIGINT'}. Run the same command again to resume.",
                file=sys.stderr,
            )
        return getattr(stopped, "exit_code", _INTERRUPTED)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        refused = refusal(error)
        if refused is None:  # a defect: its traceback is what helps to mend it
            raise
        refused.__cause__ = error
        return _told(refused, debug=debug)


def _told(error: TransferError, *, debug: bool) -> int:
    """Print an error in one line, here or by the launcher; gives its exit code."""
    if debug:
        print(visible(traceback_without_secrets(error)), file=sys.stderr, end="")
    reason = visible(without_secrets(f"{type(error).__name__}: {error}"))
    if not is_heard():
        print(reason, file=sys.stderr)
    tell_launcher(reason, reason)
    return error.exit_code
