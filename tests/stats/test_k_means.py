"""k-means of many samples at once, against scikit-learn's of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from clvlib.stats.k_means import _across, _lloyd, adjusted_rand_index, k_means, nearest


def inertia(points, centers):
    return ((points[:, None] - centers[None]) ** 2).sum(axis=2).min(axis=1).sum()


@pytest.mark.parametrize(
    ("points", "features", "number"), [(60, 2, 2), (90, 5, 4), (332, 12, 8), (1500, 3, 5), (5, 1, 5)]
)
def test_the_centres_are_scikit_learns(points, features, number):
    """Same draws, so the very same centres in the same order, whether samples are worked on together or not."""
    rng = np.random.default_rng(points)
    samples = rng.normal(size=(4, points, features)) + rng.integers(0, 3, size=(4, points, 1)) + 100
    for sample, ours in zip(samples, k_means(samples, number, starts=5, seed=3), strict=True):
        theirs = KMeans(number, n_init=5, random_state=3).fit(sample)
        np.testing.assert_allclose(ours, theirs.cluster_centers_, atol=1e-9)
        assert inertia(sample, ours) == pytest.approx(theirs.inertia_)
        np.testing.assert_array_equal(nearest(sample, ours), theirs.predict(sample))


@given(st.integers(0, 2**31), st.integers(1, 6), st.booleans())
@settings(max_examples=25)
def test_from_given_seeds_it_rests_where_scikit_learn_does(seed, number, tied):
    """On a grid full of ties, where rounding decides in scikit-learn, it rests all the same."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, size=(40, 2)) + (0 if tied else 0.3) * rng.normal(size=(40, 2))
    different = np.unique(points, axis=0)
    begin = different[rng.permutation(len(different))[:number]]
    ours = _lloyd(_across(points)[None], begin[None], np.zeros(1))[0]
    means = [points[nearest(points, ours) == k].mean(axis=0) for k in range(len(begin))]
    np.testing.assert_allclose(ours, means, atol=1e-9)  # each centre is the mean of its points
    assert inertia(points, ours) <= inertia(points, begin) + 1e-9
    if not tied:
        theirs = KMeans(len(begin), init=begin, n_init=1, tol=0).fit(points)
        np.testing.assert_allclose(ours, theirs.cluster_centers_, atol=1e-9)


def test_a_centre_that_nothing_is_near_to_gets_the_farthest_point():
    points = np.array([[0.0], [1.0], [2.0], [30.0]])
    begin = np.array([[1.0], [500.0], [-500.0]])
    ours = _lloyd(_across(points)[None], begin[None], np.zeros(1))[0]
    assert sorted(ours.ravel().tolist()) in ([0.0, 1.5, 30.0], [0.5, 2.0, 30.0])  # the two best of three groups


@given(st.integers(0, 2**31), st.floats(-1e3, 1e3))
@settings(max_examples=10)
def test_neither_the_origin_nor_company_matters(seed, shift):
    samples = np.random.default_rng(seed).normal(size=(3, 30, 2))
    together = k_means(samples, 3)
    np.testing.assert_allclose(together, np.concatenate([k_means(one[None], 3) for one in samples]), atol=1e-9)
    moved = k_means(samples + shift, 3)
    np.testing.assert_allclose(
        [inertia(*pair) for pair in zip(samples, moved - shift, strict=True)],
        [inertia(*pair) for pair in zip(samples, together, strict=True)],
    )


def test_planted_groups_are_found():
    rng = np.random.default_rng(1)
    planted = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    group = rng.integers(0, 3, 300)
    found = k_means((planted[group] + rng.normal(size=(300, 2)))[None], 3)[0]
    nearest_planted = nearest(found, planted)
    assert sorted(nearest_planted) == [0, 1, 2]
    assert np.abs(found - planted[nearest_planted]).max() < 5 / np.sqrt(80)


LABELS = arrays(np.int64, st.shared(st.integers(1, 40), key="n"), elements=st.integers(0, 5))


@given(LABELS, LABELS)
def test_the_rand_index_is_scikit_learns(first, second):
    assert adjusted_rand_index(first, second) == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


def test_the_rand_index_of_a_table_in_print():
    """Hubert and Arabie's index by hand: counts 2 0 0 / 0 1 1, so (1 - 2/6) / (1.5 - 2/6)."""
    assert adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])) == pytest.approx((2 / 3) / (7 / 6))
