"""Training, from its beginning or from where it was stopped.

fitting      a fresh model on some rows: the whole of one training
job          what is asked for, and what comes out
loop         the epochs, phase by phase
epochs       the order of rows, effective batches and what they cost
stopping     early stopping by an inner split
pausing      when to keep where a training is
state        what of an optimizer and of the random generators decides how it goes on
checkpoint   that and the rest on the disk, whole or not at all
memory       running out of it
"""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.training.checkpoint import Checkpoints, identity_of
from hf_transfer.training.epochs import class_weights, effective_batches, epoch_order
from hf_transfer.training.fitting import fit, fresh_model, shared_seed, start_hash
from hf_transfer.training.job import Epoch, Fitted, Job
from hf_transfer.training.stopping import smoothed

__all__ = [
    "Checkpoints",
    "Epoch",
    "Fitted",
    "Job",
    "class_weights",
    "effective_batches",
    "epoch_order",
    "fit",
    "fresh_model",
    "identity_of",
    "shared_seed",
    "smoothed",
    "start_hash",
]
