"""Train or solve the heads of many folds and settings at once."""

from collections.abc import Iterator, Sequence

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.freezing import frozen_hash
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.heads.program import Program
from hf_transfer.training.heads.solved import solve_heads
from hf_transfer.training.heads.template import Rows, Template
from hf_transfer.training.job import Fitted

# Weights trained together. It bounds memory (five times as much with gradients, moments and what is kept);
# the more heads, the less a step of each costs: of MiniLM's, 0.9 ms of a core with 40, 1.2 with 10, 4 alone.
_BYTES_AT_ONCE = 64e6


def heads_together(replay: Replay, config: RunConfig) -> Template | None:
    """The shared part of heads that can be trained together from stored features; None if they cannot."""
    trained = not config.solved
    stepwise = config.head_start != "random" or config.per_device_batch_size or config.compile
    if not replay.prepared or (trained and (stepwise or config.mixed_precision == "fp16")):
        return None
    template = Template(replay, config)
    return template if template.shared else None


def fit_heads(
    template: Template, configs: Sequence[RunConfig], folds: Sequence[Rows], *, title: str = "heads"
) -> Iterator[tuple[int, int, Fitted]]:
    """Train or solve a head for every configuration and fold, equal to `fit`'s up to rounding.

    On a GPU, dropout draws other masks than there, as those generators are not shared.

    The configurations may differ in their learning rate and weight decay only. Each head has its own
    rows, order of rows, dropout, schedule, gradient norm and early stopping.

    Args:
        template: From `heads_together`.
        configs: The settings to try.
        folds: The rows of each fold.
        title: Of the progress bar.

    Yields:
        Position of the configuration, position of the fold, and the trained model, which is the same
        object each time: use it before going on. A head whose loss is not finite is left out.
    """
    if configs[0].solved:
        yield from solve_heads(template, configs, folds)
        return
    per_head = sum(p.numel() * p.element_size() for p in template.learned.values())
    room = max(1, int(_BYTES_AT_ONCE // per_head))
    num_folds = min(len(folds), room)
    num_configs = max(1, room // num_folds)
    parts = [
        (
            range(fold, min(fold + num_folds, len(folds))),
            range(config, min(config + num_configs, len(configs))),
        )
        for fold in range(0, len(folds), num_folds)
        for config in range(0, len(configs), num_configs)
    ]
    with progress_bar(title, total=len(parts) * configs[0].num_epochs, unit="epoch") as bar:
        for some_folds, some_configs in parts:
            program = Program(template, [configs[c] for c in some_configs], [folds[f] for f in some_folds])
            program.train(bar.update)
            hash_after = frozen_hash(template.model, template.freezing)
            for fold, config, head in program.heads():
                yield some_configs[config], some_folds[fold], template.with_head(head, hash_after)
