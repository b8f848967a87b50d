"""Text that starts a run elsewhere: an array script for Slurm, and a line for HF Jobs."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import ConfigError
from hf_transfer.machine.secrets import holds_secret

_HOURS = 6  # at most, until somebody knows better
_FLAVOR = "l4x1"


def number_of_parts(config: RunConfig) -> int:
    """As many parts as folds in all, as far as the settings say."""
    repeats = 1 if is_auto(config.num_repeats) else int(config.num_repeats)
    return int(config.num_folds) * repeats * len(config.grid())


def slurm_script(recipe: str, settings: Sequence[str], config: RunConfig) -> str:
    """A script for `sbatch` whose tasks each train a part of the folds, and the last joins them.

    Args:
        recipe: Its name.
        settings: As they were typed.
        config: The same, read.

    Raises:
        ConfigError: If they hold a token.
    """
    _refuse_secrets(settings)
    number = number_of_parts(config)
    command = shlex.join(["hf-transfer", "run", recipe, *settings, "--engine", "parts"])
    return f"""#!/bin/bash
# Save as run.sh. Tasks 0 to {number - 1} train a part of the folds each, and task {number} joins them:
#   job=$(sbatch --parsable --array=0-{number - 1} run.sh)
#   sbatch --array={number} --dependency=afterany:${{job%%;*}} run.sh
# The folder {shlex.quote(config.output_dir)} and the data must be seen by all nodes.
#SBATCH --job-name=hf-transfer
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --time={_HOURS:02d}:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
set -euo pipefail
if [ "$SLURM_ARRAY_TASK_ID" -lt {number} ]; then
  exec {command} --part "$SLURM_ARRAY_TASK_ID/{number}"
fi
exec {command}
"""


def hf_job_line(recipe: str, settings: Sequence[str], config: RunConfig) -> str:
    """A line that runs the recipe as a job of the Hub, with a time limit: it ends after 30 minutes without.

    Args:
        recipe: Its name.
        settings: As they were typed.
        config: The same, read.

    Raises:
        ConfigError: If they hold a token, name files of this machine, or leave nothing behind.
    """
    _refuse_secrets(settings)
    here = {"dataset": config.dataset, "base_model": config.base_model}
    for name, value in here.items():
        if Path(str(value)).expanduser().exists():
            raise ConfigError(
                f"{name}={value!r} is on this machine, and a job of the Hub sees the Hub only. Upload it, "
                "and give its id."
            )
    if not config.push_to_hub:
        raise ConfigError(
            "A job's disk is gone when it ends, so the run must be published. Add --push_to_hub YOU/NAME."
        )
    words = ["hf", "jobs", "uv", "run", "--flavor", _FLAVOR, "--timeout", f"{_HOURS}h"]
    words += ["--secrets", "HF_TOKEN", "--with", "hf-transfer-kit[all]"]
    return shlex.join([*words, "hf-transfer", "run", recipe, *settings])


def _refuse_secrets(settings: Sequence[str]) -> None:
    if holds_secret("\n".join(settings)):
        raise ConfigError(
            "The settings hold what looks like a token or a password, and would be printed. Take it out: the "
            "kit reads a token from HF_TOKEN or `hf auth login` only."
        )
