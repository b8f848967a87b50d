"""Settings of the training: head, learning rate, epochs, loss."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import AUTO, Group, is_auto, setting


def is_solved(head_solver: str) -> bool:
    """Whether a head is solved in closed form."""
    return head_solver in {"lbfgs", "ridge"}


# Shares of the fine-tuned weights that `wise=auto` tries: from the pretrained model with a solved head to
# plain fine-tuning.
WISE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Group):
    """How the model is trained: head, learning rate, epochs, loss."""

    heading = "How it learns"

    head_solver: str = setting(
        AUTO,
        "With trainable=head: gradient steps, or the output layer in closed form (weight_decay is its L2); "
        "auto takes lbfgs where nothing is asked for that only gradient steps have.",
        choices=(AUTO, "gradient", "lbfgs", "ridge"),
    )
    head_start: str = setting(
        AUTO,
        "Where the head starts: random weights (auto), or the output layer solved on pretrained features.",
        choices=(AUTO, "random", "probe"),
    )
    wise: str | None = setting(
        None,
        "Average the fine-tuned weights with those before it (pretrained, with a solved head), for other "
        "data than was learned from: a share of the fine-tuned ones such as 0.5, or auto, by inner folds.",
    )
    learning_rate: float = setting(
        AUTO,
        "Peak learning rate; auto chooses by the trained layers, and the model's kind and width.",
        aliases=("lr",),
    )
    learning_rates: tuple[float, ...] = setting(
        (), "Several peak learning rates, comma-separated, all under the same folds; the best is named."
    )
    num_epochs: int = setting(
        AUTO,
        "Passes over the training rows; auto takes more passes if there are few rows.",
        aliases=("num_train_epochs", "epochs"),
        at_least=1,
    )
    batch_size: int = setting(32, "Rows for each update, over all processes together.", at_least=1)
    per_device_batch_size: int | None = setting(
        None,
        "Most rows in one step of a process; gradients of the other rows are accumulated.",
        aliases=("per_device_train_batch_size",),
        scored=False,
        at_least=1,
    )
    optimizer: str = setting("adamw", "Optimizer.", choices=("adamw", "sgd"), aliases=("optim",))
    weight_decay: float = setting(
        AUTO,
        "Decay of weight matrices, never of norms and biases; auto takes 0.01, and of a head in closed form "
        "the strength that is best on inner folds of the training rows.",
        at_least=0,
    )
    weight_decays: tuple[float, ...] = setting(
        (), "Several weight decays, comma-separated, combined with each learning rate."
    )
    warmup: float = setting(
        AUTO,
        "Warm-up: a share of all updates if below 1, else a number of updates; auto: 0.1.",
        aliases=("warmup_ratio", "warmup_steps"),
        at_least=0,
    )
    scheduler: str = setting(
        "linear",
        "Learning rate after warm-up.",
        choices=("linear", "cosine", "constant"),
        aliases=("lr_scheduler_type",),
    )
    max_grad_norm: float = setting(1.0, "Clip gradients to this norm; 0 does not clip.", at_least=0)
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all classes.", aliases=("label_smoothing_factor",), at_least=0
    )
    class_weights: str = setting(
        "none",
        "Weights of the classes in the loss, from training rows only; of sets of labels, of those that are "
        "there (pos_weight).",
        choices=("none", "balanced"),
    )
    number_loss: str = setting(
        "mse",
        "Loss of numbers: the squared error, or Huber's, which far-off rows pull less.",
        choices=("mse", "huber"),
    )
    early_stopping: bool = setting(False, "Stop by the loss on an inner split of the training rows.")
    patience: int = setting(
        3,
        "Epochs without a better inner loss before stopping.",
        aliases=("early_stopping_patience",),
        at_least=1,
    )
    augmentation: str = setting(
        "none", "Random changes to training pictures.", choices=("none", "flip", "crop", "crop-flip")
    )

    @property
    def solved(self) -> bool:
        """Whether the head is solved in closed form, without a learning rate or epochs."""
        return is_solved(self.head_solver)

    @property
    def wise_shares(self) -> tuple[float, ...]:
        """Shares of the fine-tuned weights to choose from; one where it is given, none without `wise`."""
        if self.wise is None:
            return ()
        return WISE_SHARES if is_auto(self.wise) else (float(self.wise),)

    def problems(self) -> list[str]:
        """Errors in numbers, in lists too."""
        problems = [
            f"learning_rate={rate!r} must be above 0 and below 100 (2e-5 is usual for BERT)."
            for rate in (self.learning_rate, *self.learning_rates)
            if not is_auto(rate) and not 0 < rate < 100
        ]
        problems += [
            f"weight_decay={decay!r} is too small; use 0 or more."
            for decay in self.weight_decays
            if decay < 0
        ]
        if self.wise is not None and not is_auto(self.wise) and not _is_share(self.wise):
            problems.append(f"wise={self.wise!r} is neither auto nor a share from 0 to 1, e.g. 0.5.")
        if not self.label_smoothing < 1:
            problems.append(f"label_smoothing={self.label_smoothing!r} must be from 0 to below 1.")
        return problems


def _is_share(word: str) -> bool:
    try:
        return 0 <= float(word) <= 1
    except ValueError:
        return False
