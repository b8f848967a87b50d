from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.replay.features.sample import rows_of_words


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 100), st.integers(0, 9))
def test_sentences_are_whole_and_words_no_more_than_asked(num_words, limit, seed):
    uids = [f"s{i}" for i in range(len(num_words))]
    chosen = rows_of_words(num_words, uids, seed=seed, limit=limit).tolist()
    assert chosen == sorted(set(chosen))
    assert sum(num_words[row] for row in chosen) <= limit or len(chosen) == 1
    more = rows_of_words(num_words, uids, seed=seed, limit=limit + 5).tolist()
    assert set(chosen) <= set(more) or len(chosen) == 1  # what is chosen of few is chosen of many


def test_the_choice_follows_from_the_ids_and_not_from_the_order():
    forward = rows_of_words([1] * 9, list("abcdefghi"), seed=0, limit=4)
    backward = rows_of_words([1] * 9, list("ihgfedcba"), seed=0, limit=4)
    assert {"abcdefghi"[row] for row in forward} == {"ihgfedcba"[row] for row in backward}
