"""The weekly sample: strata, weights that add up, and the same draw whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.clv.voice_sampling import _allocated, comments_of, weekly_sample
from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError

WEEK = Week("2026-W46")


def feedback(n: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2026-11-09")
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in rng.integers(0, n // 2, n)],
            "created_at": start + pd.to_timedelta(rng.integers(0, 7 * 86400, n), unit="s"),
            "rating": rng.choice([1, 2, 3, 4, 5, 9, np.nan], n, p=[0.02, 0.02, 0.05, 0.3, 0.55, 0.01, 0.05]),
            "comment": [f"评论 {i}" for i in range(n)],
            "topic": rng.choice(["price", "host", None], n),
            "label": rng.choice(["负面", "POSITIVE ", "whatever", None], n),
        }
    )


def orders(frame: pd.DataFrame) -> pd.DataFrame:
    own = frame[["customer_id"]].drop_duplicates().iloc[::2]
    return own.assign(ordered_at=[pd.Timestamp("2026-10-01"), pd.Timestamp("2026-11-10")] * (len(own) // 2) +
                      [pd.Timestamp("2026-11-10")] * (len(own) % 2))  # fmt: skip


def test_strata_are_kept_in_proportion_and_weights_stand_for_all_comments() -> None:
    said = feedback()
    comments = comments_of(said, WEEK, 1, orders(said))
    sample = weekly_sample(comments, 200, seed=3)
    sizes = comments.groupby([comments["rating"].round(), "customers"], dropna=False).size()
    assert len(sample) == 200
    assert sample["weight"].sum() == pytest.approx(len(comments))
    assert set(sample["rated"]) == {"rated 1 or 2", "rated 3", "rated 4 or 5", "not rated"}
    assert set(sample["customers"]) == {"new", "returning", "no customer yet"}
    assert len(sample.drop_duplicates(["rated", "customers"])) == 12
    assert sizes.sum() == 3000
    top = (comments["rating"] > 3) & (comments["customers"] == "new")
    drawn = (sample["rated"] == "rated 4 or 5") & (sample["customers"] == "new")
    assert drawn.sum() / 200 == pytest.approx(top.mean(), abs=0.02)
    assert comments.attrs["out_of_range"] == (said["rating"] == 9).sum()
    assert set(comments["label"].dropna()) == {"negative", "positive"}


def test_order_and_labels_change_nothing_and_the_seed_does() -> None:
    said = feedback()
    first = weekly_sample(comments_of(said, WEEK), 200, seed=1)
    shuffled = said.sample(frac=1, random_state=5).assign(label="negative")
    again = weekly_sample(comments_of(shuffled, WEEK), 200, seed=1)
    pd.testing.assert_frame_equal(first.drop(columns="label"), again.drop(columns="label"))
    other = weekly_sample(comments_of(said, WEEK), 200, seed=2)
    assert len(set(first["comment"]) & set(other["comment"])) < 60


def test_every_comment_of_a_stratum_is_as_likely_to_be_drawn() -> None:
    said = feedback(60).assign(rating=5, topic=None)
    comments, times = comments_of(said, WEEK), pd.Series(0, index=said["comment"])
    for seed in range(400):
        times[weekly_sample(comments, 15, seed=seed)["comment"]] += 1
    # 60 comments, each drawn 400 × 15/60 = 100 times on average with a variance of 75
    assert ((times - 100) ** 2 / 75).sum() < 60 + 4 * np.sqrt(120)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.integers(1, 900))
@settings(max_examples=60)
def test_shares_add_up_fit_and_leave_no_stratum_out(sizes: list[int], total: int) -> None:
    shares = _allocated(np.array(sizes), total)
    assert shares.sum() == min(total, sum(sizes))
    assert (shares <= sizes).all()
    if total >= len(sizes):
        assert (shares >= 1).all()


def test_bad_input_is_named() -> None:
    said = feedback(20)
    with pytest.raises(EmptyDataError, match="nobody wrote"):
        comments_of(said.assign(comment=" "), WEEK)
    with pytest.raises(EmptyDataError):
        comments_of(said.head(0), WEEK)
    with pytest.raises(MissingColumnError):
        comments_of(said.drop(columns="comment"), WEEK)
    with pytest.raises(ParameterError, match="weeks=0"):
        comments_of(said, WEEK, 0)
    with pytest.raises(ParameterError, match="size=0"):
        weekly_sample(comments_of(said, WEEK), 0)
    bare = comments_of(said[["customer_id", "created_at", "comment"]], WEEK)
    assert set(weekly_sample(bare, 5)["rated"]) == {"not rated"}
