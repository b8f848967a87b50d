"""What the frozen layers put out, computed once and replayed for every fold, epoch and learning rate."""

from hf_transfer.replay.replayed import Replay, ReplayedBatches, replay_folder
from hf_transfer.replay.store import StoreEntry, StoreFolder

__all__ = ["Replay", "ReplayedBatches", "StoreEntry", "StoreFolder", "replay_folder"]
