"""What the frozen layers put out, computed once and replayed for every fold, epoch and learning rate."""

from hf_transfer.replay.batches import ReplayedBatches
from hf_transfer.replay.replayed import Replay

__all__ = ["Replay", "ReplayedBatches"]
