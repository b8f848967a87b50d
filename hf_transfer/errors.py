"""The tree of errors. Each message says what was given, what is allowed and what to do.

TransferError                 exit code
├── ConfigError               2   a setting is wrong or two settings disagree
│   ├── LaunchError           2   folds side by side need processes, which only a launcher can start
│   ├── LayerSelectionError   2   `trainable` matches nothing, or cuts a tied weight in two
│   └── ModelError            2   the base model is absent, incomplete or made for another task
├── DataError                 3   rows, columns, labels or pictures
│   ├── ColumnError           3   a column that a setting names, or of a usual name, is not there
│   ├── FoldError             3   the rows cannot be split as asked
│   └── VerificationError     3   what a run says does not follow from what it holds
├── DoneEarlyError            0   what was asked for is done, before the run has results
├── RunError                  4   some folds failed; the rest is kept and reported
│   └── ShortOfMemoryError    4   something does not fit in memory, not even in parts
├── DiskFullError             4   there is no room left; what was finished is kept
├── MachineError              4   the machine refuses a file; what was finished is kept
└── HubError                  5   nothing was published, nothing was lost
"""


class TransferError(Exception):
    """Base of every error the kit raises on purpose."""

    exit_code = 1


class ConfigError(TransferError, ValueError):
    """A setting is wrong, or two settings disagree."""

    exit_code = 2


class LaunchError(ConfigError):
    """Training folds side by side needs several processes, and this one is alone.

    Attributes:
        num_processes: How many are needed; recipes and the verbs of `hf-transfer` start them by themselves.
    """

    def __init__(self, num_processes: int) -> None:
        super().__init__(
            f"folds_per_device={num_processes} takes {num_processes} processes. Recipes and `hf-transfer` "
            "start them by themselves; start other programs with "
            f"`accelerate launch --num_processes {num_processes} …`."
        )
        self.num_processes = num_processes


class LayerSelectionError(ConfigError):
    """`trainable` matches no layer group, or would train half of a tied weight."""


class ModelError(ConfigError):
    """The base model is absent, incomplete, or made for another task."""


class DataError(TransferError, ValueError):
    """The rows, their columns, labels or pictures are not usable."""

    exit_code = 3


class ColumnError(DataError):
    """The rows have no column that a setting names, or of a usual name.

    Attributes:
        setting: Which would name it.
    """

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class FoldError(DataError):
    """The rows cannot be split as asked."""


class VerificationError(DataError):
    """A number of a run does not follow from its split and predictions."""


class DoneEarlyError(TransferError):
    """What was asked for is done before the run has results: its price is told, or a part of it trained."""

    exit_code = 0


class RunError(TransferError, RuntimeError):
    """Some folds failed; the others are kept and reported."""

    exit_code = 4


class ShortOfMemoryError(RunError):
    """Something does not fit in memory, not even in parts."""


class DiskFullError(TransferError, OSError):
    """The disk is full; finished work is kept."""

    exit_code = 4


class MachineError(TransferError, OSError):
    """A file may not be read or written, or too many are open; finished work is kept."""

    exit_code = 4


class HubError(TransferError, OSError):
    """The Hub refused or could not be reached; nothing already computed is lost."""

    exit_code = 5
