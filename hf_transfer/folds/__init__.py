"""A fold is a permutation and a shard.

The rows are put in an order that follows from a hash of their ids, then arranged by the scheme, and
`Dataset.shard` cuts fold i out. So a fold can be made again from the permutation, k, i and a flag, by
anybody, with `datasets` only.

random             the order of the hash, cut into runs
stratified         sorted by class, each k-th row a fold: every class is spread to within one row
group              the rows of a group stay in one fold; sizes are balanced
stratified-group   the same; class counts are balanced
entity             mentions of each entity type are balanced; the rows of a group, if any, stay together
time               blocks in order of time; `gap` rows beside the held-out block are not trained on
walk-forward       the same blocks, trained on the past only; the first is never held out
predefined         the folds that a column names
"""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.columns import FoldColumns, choose_scheme, kept_apart
from hf_transfer.folds.nested import nested_rows
from hf_transfer.folds.order import RowIds, derive_seed, fold_seed, hash_key, hash_order, ids_at
from hf_transfer.folds.plan import FoldPlan
from hf_transfer.folds.split import (
    SLICES,
    Fold,
    inner_folds,
    inner_split,
    k_folds,
    plan_among,
    plan_at_random,
    plan_folds,
    plan_repeats,
    search_plan,
)
from hf_transfer.folds.table import (
    coded_columns,
    first_repeat,
    fold_table,
    read_fold_table,
    rows_aside,
    split_arrays,
)

__all__ = [
    "SLICES",
    "Fold",
    "FoldColumns",
    "FoldPlan",
    "RowIds",
    "choose_scheme",
    "coded_columns",
    "derive_seed",
    "first_repeat",
    "fold_seed",
    "fold_table",
    "hash_key",
    "hash_order",
    "ids_at",
    "inner_folds",
    "inner_split",
    "k_folds",
    "kept_apart",
    "nested_rows",
    "plan_among",
    "plan_at_random",
    "plan_folds",
    "plan_repeats",
    "read_fold_table",
    "rows_aside",
    "search_plan",
    "split_arrays",
]
