import math
from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedKFold

from hf_transfer.errors import FoldError
from hf_transfer.folds import FoldColumns, hash_order, inner_folds, inner_split, k_folds, plan_folds

quick = settings(max_examples=40, deadline=None)
labels_and_folds = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k),
        # Each class has k rows or more, in any order.
        st.lists(st.integers(k, 12), min_size=2, max_size=5)
        .map(lambda sizes: [label for label, size in enumerate(sizes) for _ in range(size)])
        .flatmap(st.permutations),
    )
)
groups_and_folds = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.integers(0, 15), min_size=20, max_size=60).filter(lambda g: len(set(g)) >= k)
    )
)


def plan(num_rows, num_folds, scheme="auto", *, seed=0, strict=False, **columns):
    return plan_folds(
        range(num_rows), num_folds, seed=seed, scheme=scheme, columns=FoldColumns(**columns), strict=strict
    )


def valid(a_plan):
    return [a_plan.valid(index).tolist() for index in range(a_plan.num_folds)]


def class_counts(labels, folds, num_folds):
    table = np.zeros((num_folds, max(labels) + 1), int)
    np.add.at(table, (folds, labels), 1)
    return table


def every_scheme():
    n = 60
    random = np.random.default_rng(0)
    columns = FoldColumns(
        labels=random.permutation(np.arange(n) % 3),
        groups=[f"author {i}" for i in random.integers(0, 14, n)],
        times=random.integers(0, 1000, n),
        folds=random.choice(["a", "b", "c"], n),
        counts=random.poisson(0.5, (n, 4)),
    )
    return n, columns


SCHEMES = [
    "random",
    "stratified",
    "group",
    "stratified-group",
    "time",
    "walk-forward",
    "predefined",
    "entity",
]


# The split anybody can make again


def test_stratified_permutation_is_the_published_one():
    split = plan(10, 2, "stratified", labels=[0] * 6 + [1] * 4)
    assert split.permutation.tolist() == [3, 5, 4, 2, 0, 1, 7, 9, 8, 6]
    assert not split.contiguous
    assert valid(split) == [[3, 4, 0, 7, 8], [5, 2, 1, 9, 6]]


def test_three_folds_are_the_published_ones():
    assert valid(plan(10, 3, "stratified", labels=[0] * 6 + [1] * 4)) == [[3, 2, 7, 6], [5, 0, 9], [4, 1, 8]]


def test_random_folds_are_runs_of_the_hash_order():
    split = plan(10, 3, "random")
    assert split.contiguous
    assert valid(split) == [[3, 7, 9, 8], [5, 4, 2], [6, 0, 1]]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_fold_is_a_shard_of_the_permutation(scheme):
    n, columns = every_scheme()
    split = plan_folds(range(n), 3, seed=1, columns=columns, scheme=scheme)
    rows = Dataset.from_dict({"row": split.permutation})
    for index in range(3):
        shard = rows.shard(num_shards=3, index=index, contiguous=split.contiguous)["row"][:]
        assert split.valid(index).tolist() == [row for row in shard if row != -1]


# Properties of all schemes


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_row_is_validated_once(scheme):
    n, columns = every_scheme()
    split = plan_folds(range(n), 3, seed=0, columns=columns, scheme=scheme)
    assert sorted(row for rows in valid(split) for row in rows) == list(range(n))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_row_is_trained_on_and_held_out(scheme):
    n, columns = every_scheme()
    split = plan_folds(range(n), 3, seed=0, columns=columns, scheme=scheme)
    for index in range(3):
        assert not set(split.train(index).tolist()) & set(split.valid(index).tolist())


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s not in {"time", "walk-forward"}])
def test_what_is_not_held_out_is_trained_on(scheme):
    n, columns = every_scheme()
    split = plan_folds(range(n), 3, seed=0, columns=columns, scheme=scheme)
    for index in range(3):
        assert len(split.train(index)) + len(split.valid(index)) == n


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fold_of_row_agrees_with_valid(scheme):
    n, columns = every_scheme()
    split = plan_folds(range(n), 3, seed=0, columns=columns, scheme=scheme)
    for index in split.scored_folds:
        assert np.flatnonzero(split.fold_of_row() == index).tolist() == sorted(split.valid(index).tolist())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_same_seed_same_folds(scheme):
    n, columns = every_scheme()
    one, two = (plan_folds(range(n), 3, seed=7, columns=columns, scheme=scheme) for _ in range(2))
    assert one.permutation.tolist() == two.permutation.tolist()
    assert one.fingerprint(range(n)) == two.fingerprint(range(n))


@pytest.mark.parametrize("scheme", ["random", "stratified", "group", "stratified-group", "entity"])
def test_other_seeds_other_folds(scheme):
    n, columns = every_scheme()
    folds = {
        tuple(plan_folds(range(n), 3, seed=seed, columns=columns, scheme=scheme).fold_of_row())
        for seed in range(5)
    }
    assert len(folds) == 5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_order_of_the_rows_does_not_matter(scheme):
    n, columns = every_scheme()
    ids = np.array([f"review-{row}" for row in range(n)])
    moved = np.random.default_rng(1).permutation(n)
    folds = plan_folds(ids, 3, seed=0, columns=columns, scheme=scheme).fold_of_row()
    again = plan_folds(ids[moved], 3, seed=0, columns=columns.take(moved), scheme=scheme).fold_of_row()
    assert again.tolist() == folds[moved].tolist()


@pytest.mark.parametrize("scheme", ["stratified", "stratified-group"])
def test_what_a_class_is_called_does_not_matter(scheme):
    n, columns = every_scheme()
    names = np.array(["wasp", "ant", "bee"])[np.asarray(columns.labels)]
    renamed = FoldColumns(labels=names, groups=columns.groups)
    one = plan_folds(range(n), 3, seed=0, columns=columns, scheme=scheme)
    two = plan_folds(range(n), 3, seed=0, columns=renamed, scheme=scheme)
    assert one.permutation.tolist() == two.permutation.tolist()


# Stratified


@quick
@given(labels_and_folds)
def test_class_counts_are_those_of_stratified_k_fold(case):
    num_folds, labels = case
    order = hash_order(range(len(labels)), 0)
    split = plan(len(labels), num_folds, "stratified", labels=labels)
    # The peer numbers classes by first appearance, here in the order of the hash.
    peer = np.empty(len(labels), int)
    for index, (_, rows) in enumerate(StratifiedKFold(num_folds).split(order, np.array(labels)[order])):
        peer[order[rows]] = index
    ours = class_counts(labels, split.fold_of_row(), num_folds)
    assert ours.tolist() == class_counts(labels, peer, num_folds).tolist()


@quick
@given(labels_and_folds)
def test_classes_and_sizes_differ_by_one_row_at_most(case):
    num_folds, labels = case
    table = class_counts(
        labels, plan(len(labels), num_folds, "stratified", labels=labels).fold_of_row(), num_folds
    )
    assert np.ptp(table, axis=0).max() <= 1
    assert np.ptp(table.sum(axis=1)) <= 1


def test_rows_sorted_by_label_have_every_class_in_every_fold():
    split = plan(30, 5, labels=[0] * 10 + [1] * 10 + [2] * 10)
    assert (class_counts([0] * 10 + [1] * 10 + [2] * 10, split.fold_of_row(), 5) == 2).all()


# Groups


@quick
@given(groups_and_folds)
def test_group_sizes_are_those_of_group_k_fold(case):
    num_folds, groups = case
    peer = [len(rows) for _, rows in GroupKFold(num_folds).split(groups, groups=groups)]
    assert [len(rows) for rows in valid(plan(len(groups), num_folds, "group", groups=groups))] == peer


@quick
@given(groups_and_folds, st.sampled_from(["group", "stratified-group", "entity"]))
def test_a_group_is_in_one_fold(case, scheme):
    num_folds, groups = case
    labels = [group % 2 for group in groups]
    counts = np.array([[group % 3, 1] for group in groups])
    split = plan(len(groups), num_folds, scheme, groups=groups, labels=labels, counts=counts)
    homes = {group: set() for group in groups}
    for group, fold in zip(groups, split.fold_of_row().tolist(), strict=True):
        homes[group].add(fold)
    assert {len(folds) for folds in homes.values()} == {1}


@quick
@given(
    st.lists(st.integers(2, 9), min_size=2, max_size=6),
    st.integers(0, 9),
    st.sampled_from(["auto", "group", "stratified-group", "entity"]),
)
def test_as_many_folds_as_groups_leave_one_group_out_each(sizes, seed, scheme):
    """Leave one domain out, where groups are domains."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.concatenate([np.arange(size) % 2 for size in sizes])
    counts = np.stack([labels == 0, labels == 1], axis=1).astype(int)
    split = plan(len(groups), len(sizes), scheme, seed=seed, groups=groups, labels=labels, counts=counts)
    held_out = [set(groups[rows].tolist()) for rows in valid(split)]
    assert sorted(held_out, key=min) == [{group} for group in range(len(sizes))]


def test_a_class_of_one_domain_lowers_the_folds_unless_classes_are_left_alone():
    groups, labels = np.repeat(np.arange(4), 6), [0] * 6 + [0, 1, 2] * 6
    assert plan(24, 4, groups=groups, labels=labels).num_folds == 3
    assert plan(24, 4, "group", groups=groups, labels=labels).num_folds == 4


def test_classes_are_spread_over_folds_of_groups():
    groups = np.repeat(np.arange(20), 5)
    labels = [int(group < 5) for group in groups]  # a quarter of the authors write all of class 1
    table = class_counts(labels, plan(100, 5, groups=groups, labels=labels).fold_of_row(), 5)
    assert table.tolist() == [[15, 5]] * 5


def test_unequal_folds_are_filled_up():
    split = plan(6, 2, groups=["ann"] * 5 + ["bob"])
    assert split.permutation.tolist().count(-1) == 4
    assert [len(rows) for rows in valid(split)] == [5, 1]
    assert len(split.train(1)) == 5


# Time


def test_blocks_follow_time():
    times = np.random.default_rng(0).permutation(20)
    blocks = [times[rows].tolist() for rows in valid(plan(20, 4, times=times))]
    assert blocks == [list(range(start, start + 5)) for start in range(0, 20, 5)]


def test_gap_is_left_out_on_both_sides():
    split = plan(20, 4, times=range(20), gap=2)
    assert sorted(split.train(1)) == [0, 1, 2, 12, 13, 14, 15, 16, 17, 18, 19]
    assert sorted(split.train(3)) == list(range(13))


def test_walking_forward_trains_on_the_past_only():
    times = np.random.default_rng(0).permutation(20)
    split = plan(20, 4, "walk-forward", times=times, gap=1)
    assert list(split.scored_folds) == [1, 2, 3]
    for index in split.scored_folds:
        assert times[split.train(index)].max() + 1 < times[split.valid(index)].min()
    assert (split.fold_of_row() == -1).sum() == 5
    assert split.notes == ("The 5 earliest rows are trained on and never held out.",)


@pytest.mark.parametrize("scheme", ["time", "walk-forward"])
def test_a_time_that_is_held_out_is_not_trained_on(scheme):
    times = np.repeat(np.arange(7), 3)  # blocks of 7 rows cut through days of 3
    split = plan(21, 3, scheme, times=times)
    for index in split.scored_folds:
        assert not set(times[split.train(index)]) & set(times[split.valid(index)])
    assert (
        "Rows of one time lie in two blocks; a fold does not train on times that it holds out." in split.notes
    )


def test_dates_are_read_from_iso_text():
    dates = ["2024-02-01", "2023-12-31T23:00:00", "20240115", "2024-01-31"]
    assert valid(plan(4, 4, times=dates)) == [[1], [2], [3], [0]]


def test_gap_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(FoldError, match=r"Fold 0 has no rows to train on: gap=5 .* none of 10\. Lower gap"):
        plan(10, 2, times=range(10), gap=5)


# Predefined and entities


def test_predefined_folds_are_kept():
    split = plan(6, 3, folds=["b", "a", "b", "c", "a", "a"])
    assert [sorted(rows) for rows in valid(split)] == [[1, 4, 5], [0, 2], [3]]
    assert split.notes == ()


def test_number_of_predefined_folds_wins():
    split = plan(4, 5, folds=[10, 9, 10, 9])
    assert split.num_folds == 2
    assert [sorted(rows) for rows in valid(split)] == [[1, 3], [0, 2]]
    assert split.notes == ("num_folds is 2 instead of 5, as that many folds are predefined.",)


def test_mentions_are_spread_far_better_than_at_random():
    counts = np.random.default_rng(0).poisson([0.02, 0.1, 0.3, 0.05], (2000, 4))

    def spread(scheme):
        return np.ptp(
            [counts[rows].sum(axis=0) for rows in valid(plan(2000, 5, scheme, counts=counts))], axis=0
        )

    assert (spread("entity") <= 1).all()
    assert (spread("random") >= 5).all()


def test_entity_folds_have_equal_sizes():
    counts = np.random.default_rng(0).poisson(0.1, (503, 3))
    assert sorted(map(len, valid(plan(503, 5, counts=counts)))) == [100, 100, 101, 101, 101]


# How many folds


def test_fewer_folds_are_made_for_a_rare_class():
    split = plan(13, 5, labels=[0] * 10 + [1] * 3, label_names=["ant", "bee"])
    assert split.num_folds == 3
    assert split.notes == ("num_folds lowered from 5 to 3: class 'bee' has 3 rows.",)


def test_a_class_of_one_row_does_not_lower_the_number():
    split = plan(11, 5, labels=[0] * 10 + [1], label_names=["ant", "bee"])
    assert split.num_folds == 5
    assert split.notes == (
        "Not every fold has every class, and a fold is scored without those it lacks: "
        "'bee' (1 row) is in 1 of 5.",
        "Scored only by a model that was not trained on any, being in one fold: 'bee'.",
    )


@pytest.mark.parametrize(
    ("groups", "said"),
    [(None, "has one row"), ([0, 0, 1, 1, 2, 2], "is in one group")],
    ids=("rows", "groups"),
)
def test_classes_that_cannot_be_learned_and_scored_are_refused(groups, said):
    labels = [0, 0, 1, 1, 2, 2] if groups else [0, 1, 2, 3, 4, 5]
    with pytest.raises(FoldError, match=rf"^Each of the \d classes {said}, so that none can be learned"):
        plan(6, 2, labels=labels, groups=groups)


def test_a_rare_class_is_refused_when_strict():
    with pytest.raises(
        FoldError, match=r"^num_folds=5 is too many: class 'bee' has 3 rows\. It must be from 2 to 3\.$"
    ):
        plan(13, 5, labels=[0] * 10 + [1] * 3, label_names=["ant", "bee"], strict=True)


def test_a_class_of_one_row_is_refused_when_strict():
    with pytest.raises(
        FoldError, match=r"class 'bee' has 1 row\. No number of folds gives every fold that class"
    ):
        plan(11, 5, labels=["ant"] * 10 + ["bee"], strict=True)


def test_a_class_in_few_groups_lowers_the_number():
    groups = np.repeat(np.arange(10), 2)
    split = plan(20, 5, groups=groups, labels=[int(group < 3) for group in groups])
    assert split.num_folds == 3
    assert split.notes[0] == "num_folds lowered from 5 to 3: class 1 is in 3 groups."


def test_a_fold_that_came_out_without_a_class_is_refused_when_strict():
    groups, labels = [4, 2, 4, 0, 2, 0], ["ant", "ant", "bee", "bee", "ant", "bee"]
    assert plan(6, 2, groups=groups, labels=labels).num_folds == 2
    with pytest.raises(FoldError, match=r"'bee' \(3 rows\) is in 1 of 2.* Try another seed or num_folds"):
        plan(6, 2, groups=groups, labels=labels, strict=True)


def test_too_many_folds_are_refused_when_strict():
    with pytest.raises(
        FoldError, match=r"num_folds=9 is too many: there are 8 rows\. It must be from 2 to 8\."
    ):
        plan(8, 9, strict=True)


def test_too_many_folds_are_lowered():
    split = plan(8, 9)
    assert split.num_folds == 8
    assert split.notes == ("num_folds lowered from 9 to 8: there are 8 rows.",)


def test_fewer_groups_than_folds_lower_the_number():
    assert plan(6, 5, groups=[1, 2, 3] * 2).notes == ("num_folds lowered from 5 to 3: there are 3 groups.",)


@pytest.mark.parametrize("num_rows", [0, 1])
def test_too_few_rows_are_refused(num_rows):
    with pytest.raises(FoldError, match=f"needs 2 rows or more, got {num_rows}"):
        plan(num_rows, 2)


def test_missing_groups_are_counted():
    with pytest.raises(FoldError, match="3 rows of 5 without a value in groups; the first is row 1"):
        plan(5, 2, groups=["ann", None, " ", "bob", math.nan])


# Friendly folds


def reviews(**columns):
    return Dataset.from_dict({"text": [f"text {i}" for i in range(12)], "label": [0, 1] * 6} | columns)


def test_k_folds_hold_each_row_out_once():
    rows = reviews()
    held_out = Counter(text for fold in k_folds(rows, 4, seed=0) for text in fold.valid["text"])
    assert held_out == Counter(rows["text"])


def test_k_folds_balance_classes():
    rows = reviews(label=[0] * 6 + [1] * 6)
    assert [sorted(fold.valid["label"]) for fold in k_folds(rows, 3, seed=0, stratify_by="label")] == [
        [0, 0, 1, 1]
    ] * 3


def test_k_folds_keep_groups_together():
    rows = reviews(author=["ann", "bob", "eve"] * 4)
    for fold in k_folds(rows, 3, seed=0, group_by="author"):
        assert not set(fold.train["author"]) & set(fold.valid["author"])
        assert fold.train.num_rows + fold.valid.num_rows == 12


def test_k_folds_follow_time():
    folds = list(k_folds(reviews(day=list(range(12))), 3, seed=0, time_by="day"))
    assert [fold.valid["day"][:] for fold in folds] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_k_folds_read_columns_whatever_the_format():
    plain = [fold.valid["text"][:] for fold in k_folds(reviews(), 3, seed=0, stratify_by="label")]
    rows = reviews().with_format("numpy")
    assert [list(fold.valid["text"][:]) for fold in k_folds(rows, 3, seed=0, stratify_by="label")] == plain


def test_k_folds_name_the_class_that_is_too_rare():
    features = Features({"label": ClassLabel(names=["ant", "bee"]), "text": Value("string")})
    rows = Dataset.from_dict({"label": [0] * 6 + [1] * 2, "text": ["…"] * 8}, features=features)
    with pytest.raises(FoldError, match="num_folds=3 is too many: class 'bee' has 2 rows"):
        k_folds(rows, 3, seed=0, stratify_by="label")


@pytest.mark.parametrize("num_folds", [-1, 0, 1, 13])
def test_k_folds_refuse_what_is_out_of_range(num_folds):
    with pytest.raises(FoldError, match=rf"num_folds={num_folds} is .*It must be from 2 to 12\."):
        k_folds(reviews(), num_folds, seed=0)


@pytest.mark.parametrize("num_folds", [2.0, "3", True, None])
def test_k_folds_refuse_what_is_no_whole_number(num_folds):
    with pytest.raises(FoldError, match=f"num_folds must be a whole number from 2, got {num_folds!r}"):
        k_folds(reviews(), num_folds, seed=0)


def test_k_folds_show_the_columns_there_are():
    with pytest.raises(
        FoldError,
        match=r"No column 'author' in the dataset; it has 'label', 'text'\. Pass one of them as group_by.",
    ):
        k_folds(reviews(), 3, seed=0, group_by="author")


def test_k_folds_take_one_split():
    with pytest.raises(FoldError, match="Expected one split, got a DatasetDict with 'train' and 'test'"):
        k_folds(DatasetDict(train=reviews(), test=reviews()), 3, seed=0)


def test_k_folds_take_rows_with_numbers():
    with pytest.raises(FoldError, match=r"Expected a datasets\.Dataset, got IterableDataset"):
        k_folds(reviews().to_iterable_dataset(), 3, seed=0)


def test_k_folds_do_not_mix_time_with_classes():
    with pytest.raises(
        FoldError, match="time_by='day' cuts by time alone; leave stratify_by and group_by out"
    ):
        k_folds(reviews(day=list(range(12))), 3, seed=0, time_by="day", stratify_by="label")


# Inner split


@pytest.mark.parametrize("scheme", SCHEMES)
def test_inner_split_stays_in_the_training_rows(scheme):
    n, columns = every_scheme()
    split = plan_folds(range(n), 3, seed=0, columns=columns, scheme=scheme)
    rows = split.train(2)
    fit, stop = inner_split(rows, range(n), seed=5, columns=columns, scheme=scheme)
    assert set(fit.tolist()) | set(stop.tolist()) <= set(rows.tolist())
    assert not set(fit.tolist()) & set(stop.tolist())
    assert len(fit)
    assert len(stop)


def test_inner_split_takes_a_seventh_for_a_share_of_fifteen_hundredths():
    labels = np.arange(140) % 2
    fit, stop = inner_split(np.arange(140), range(140), seed=0, columns=FoldColumns(labels=labels))
    assert (len(fit), len(stop)) == (120, 20)
    assert Counter(labels[stop].tolist()) == {0: 10, 1: 10}


@pytest.mark.parametrize(("share", "size"), [(0.5, 20), (0.2, 20), (0.1, 10), (0.05, 5)])
def test_inner_split_sets_a_fifth_aside_at_most(share, size):
    _, stop = inner_split(np.arange(100), range(100), seed=0, columns=FoldColumns(), share=share)
    assert len(stop) == size


def test_inner_split_keeps_groups_whole():
    groups = np.arange(100) // 4
    fit, stop = inner_split(np.arange(100), range(100), seed=0, columns=FoldColumns(groups=groups))
    assert not set(groups[fit]) & set(groups[stop])


def test_inner_split_passes_over_the_fold_of_a_huge_group():
    groups = [0] * 60 + list(range(1, 41))
    _, stop = inner_split(np.arange(100), range(100), seed=0, columns=FoldColumns(groups=groups))
    assert len(stop) < 10


@pytest.mark.parametrize("scheme", ["time", "walk-forward"])
def test_inner_split_takes_the_latest_block_after_the_gap(scheme):
    times = np.random.default_rng(0).permutation(70)
    columns = FoldColumns(times=times, gap=3)
    fit, stop = inner_split(np.arange(70), range(70), seed=0, columns=columns, scheme=scheme)
    assert sorted(times[stop]) == list(range(60, 70))
    assert sorted(times[fit]) == list(range(57))


def test_inner_split_is_not_shrunk_by_a_rare_class():
    labels = [0] * 68 + [1, 1]
    _, stop = inner_split(np.arange(70), range(70), seed=0, columns=FoldColumns(labels=labels))
    assert len(stop) == 10


def test_inner_split_of_one_predefined_fold_goes_by_the_other_columns():
    columns = FoldColumns(folds=[0] * 20 + [1] * 20, labels=[0, 1] * 20)
    _, stop = inner_split(np.arange(20), range(40), seed=0, columns=columns, scheme="predefined", share=0.2)
    assert Counter(row % 2 for row in stop.tolist()) == {0: 2, 1: 2}


def test_inner_split_does_not_depend_on_the_order_of_the_rows():
    rows = np.arange(50)
    one = inner_split(rows, range(50), seed=0, columns=FoldColumns())
    two = inner_split(rows[::-1], range(50), seed=0, columns=FoldColumns())
    assert [part.tolist() for part in one] == [part.tolist() for part in two]


def test_inner_split_differs_from_the_outer_one():
    fold = plan_folds(range(50), 7, seed=0, columns=FoldColumns()).valid(0)
    _, stop = inner_split(np.arange(50), range(50), seed=0, columns=FoldColumns())
    assert set(stop.tolist()) != set(fold.tolist())


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_inner_split_refuses_a_share_out_of_range(share):
    with pytest.raises(FoldError, match=f"share must lie between 0 and 1, such as 0.15, got {share}"):
        inner_split(np.arange(10), range(10), seed=0, columns=FoldColumns(), share=share)


@pytest.mark.parametrize("num_groups", [None, 9])
def test_inner_folds_hold_out_every_row_once_and_no_group_twice(num_groups):
    uids, rows = np.array([f"row {i}" for i in range(90)]), np.arange(10, 90)
    groups = None if num_groups is None else np.arange(90) % num_groups
    columns = FoldColumns(labels=np.arange(90) % 3, groups=groups)
    found = inner_folds(rows, uids, seed=1, columns=columns, num_folds=3)
    assert np.array_equal(np.sort(np.concatenate([check for _, check in found])), rows)
    for learn, check in found:
        assert np.array_equal(np.sort(np.concatenate([learn, check])), rows)
        assert groups is None or not set(groups[learn]) & set(groups[check])
