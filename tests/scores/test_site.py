import numpy as np
import pytest

from hf_transfer.folds import FoldColumns, FoldPlan, plan_folds
from hf_transfer.scores.site import cramers_v, read_site
from hf_transfer.scores.site_reading import SiteReading


def rows(seed=0, n=200, *, shifted=0.0, together=0.5):
    """Features that a site shifts, and labels of which a share `together` follows the site."""
    rng = np.random.default_rng(seed)
    sites = rng.integers(0, 2, n)
    labels = np.where(rng.random(n) < together, sites, rng.integers(0, 2, n))
    values = rng.normal(size=(n, 8))
    values[:, 0] += shifted * sites
    return values, [f"hospital {site}" for site in sites], np.eye(2, dtype=np.int64)[labels]


def read(values, sites, counts, units=None):
    plan: FoldPlan = plan_folds(
        list(range(len(sites))), 5, seed=0, columns=FoldColumns(labels=counts.argmax(axis=1))
    )
    labels = (("well", "ill"), counts)
    return read_site(values, ("Manufacturer", sites), labels, plan, units=units, seed=0)


def test_a_label_that_is_a_site_in_disguise_raises_the_alarm():
    found = read(*rows(shifted=4, together=0.8))
    assert found.alarm
    assert found.auc > 0.95
    assert found.p == pytest.approx(1 / 200)
    assert found.words.startswith("The site can be told from the features (AUC ")
    assert "is the label a site in disguise? --group_by Manufacturer scores sites" in found.words
    assert "hospital" not in found.words


@pytest.mark.parametrize(("auc", "within", "told"), [(0.5, 0.5, False), (0.9, 0.5, False), (0.5, 0.6, True)])
def test_an_area_of_chance_tells_no_site_whatever_its_p(auc, within, told):
    found = SiteReading(column="Site", num_sites=3, auc=auc, within=within, p=0.05, goes_with=0.4)
    assert found.told is found.alarm is told
    assert ("can't be told" in found.words) is not told


def test_a_label_that_is_always_of_one_site_raises_the_alarm_too():
    found = read(*rows(shifted=1, together=1))
    assert found.within is None
    assert found.alarm
    assert "Add rows of each label from each site" in found.words


def test_a_site_that_labels_do_not_go_with_is_told_of_calmly():
    found = read(*rows(shifted=4, together=0))
    assert found.told
    assert not found.alarm
    assert "but labels hardly go with it" in found.words


def test_equal_machines_stay_silent_as_a_rule():
    told = [read(*rows(seed, n=40, together=0.5)).told for seed in range(10)]
    assert sum(told) <= 2


def test_a_site_that_only_goes_with_a_visible_label_is_not_told():
    values, sites, counts = rows(together=0.7)
    values[:, 1] += 6 * counts[:, 1]
    found = read(values, sites, counts)
    assert found.auc > 0.75
    assert abs(found.within - 0.5) < 0.15
    assert not found.alarm
    assert "can't be told from the features by more than the labels say" in found.words


def test_patients_are_shuffled_as_one():
    values, sites, counts = rows(n=12, shifted=1, together=0.5)
    many = [np.repeat(column, 20, axis=0) for column in (values, np.array(sites), counts)]
    units = np.repeat(np.arange(12), 20)
    assert read(*many).p < 0.01  # as the rows of a patient are copies
    plan = plan_folds(
        list(range(240)), 3, seed=0, columns=FoldColumns(labels=many[2].argmax(axis=1), groups=units)
    )
    found = read_site(many[0], ("site", many[1].tolist()), (("a", "b"), many[2]), plan, units=units, seed=0)
    assert found.p > 0.01


def test_without_features_only_the_labels_are_looked_at():
    found = read(None, *rows(together=1)[1:])
    assert (found.auc, found.within, found.p, found.told) == (None, None, None, False)
    assert found.goes_with > 0.95
    assert "was not tested" in found.words
    assert "--trainable head does" in found.words


def test_of_label_sets_the_label_that_goes_with_the_site_most_is_named():
    values, sites, counts = rows(shifted=4, together=0.9)
    counts[:, 0] = 1
    assert read(values, sites, counts).label == "ill"


def test_one_site_says_nothing():
    values, _, counts = rows()
    assert read(values, ["a"] * len(values), counts) is None


def test_cramers_v_of_independent_columns_is_about_0_whatever_their_sizes():
    rng = np.random.default_rng(0)
    found = [cramers_v(rng.integers(0, 9, 100), rng.integers(0, 5, 100)) for _ in range(50)]
    assert np.mean(found) < 0.08
