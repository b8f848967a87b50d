"""Is this model a good start? Candidates on the same rows and folds, beside controls."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.rank.ranking import Ranking, rank_models

__all__ = ["Ranking", "rank_models"]
