"""Sentiment: by hand on small comments, on real reviews that it was not made from, and its correction by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.voice_sentiment import corrected_share, lexicon_score, lexicon_sentiment, sentiment
from clvlib.data.sample_words import MOODS, TOPICS, comments
from clvlib.errors import ParameterError
from tests.conftest import shared_data


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("很好，推荐", 1),
        ("不好", -1),
        ("不是很好", -1),
        ("没有不满意", 1),
        ("一点都不慢", 1),
        ("味道好，但是太慢了，太贵了", -1),
        ("Not bad at all", 1),
        ("I don't like it", -1),
        ("Great quality 👍", 1),
        ("👎👎", -1),
        ("物流给力，host was awful, 态度很差", -1),
        ("周三到的", 0),
        ("好像是周三", 0),
        ("以后不会再买", -1),
        ("再也不买了", -1),
        ("还没收到货", -1),
        ("无可挑剔", 1),
        ("", 0),
    ],
)
def test_words_negations_and_emoji_by_hand(text: str, sign: int) -> None:
    assert np.sign(lexicon_score(text)) == sign


def test_an_emphasis_strengthens_and_a_faint_word_weakens() -> None:
    assert lexicon_score("有点慢") > lexicon_score("慢") > lexicon_score("非常慢")


def reviews() -> pd.DataFrame:
    """Reviews in a fixed random order; the first half was looked at while the lexicon was written, the second not."""
    frame = pd.read_csv(shared_data("waimai_reviews") / "waimai_10k.csv").drop_duplicates("review")
    frame = frame.assign(label=np.where(frame["label"] == 1, "positive", "negative"))
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def test_the_lexicon_on_real_reviews_that_it_was_not_made_from() -> None:
    held = reviews().iloc[5990:]
    found = lexicon_sentiment(list(held["review"]))
    decided = found != "neutral"
    assert (found == held["label"])[decided].mean() > 0.85
    assert decided.mean() > 0.85
    assert (found == held["label"]).mean() > 0.775  # an undecided comment counts as wrong here


def test_labels_beat_the_lexicon_and_their_accuracy_is_that_of_held_out_reviews() -> None:
    frame = reviews()
    learn, held = frame.iloc[:800], frame.iloc[5990:]
    found = sentiment(list(held["review"]), list(learn["review"]), list(learn["label"]))
    reached = (found.predicted == held["label"]).mean()
    assert found.method == "model learnt from labels"
    assert found.labels == 800
    assert reached > 0.84
    assert found.lower - 0.01 < reached < found.upper + 0.01
    negative = found.predicted == "negative"
    share, lower, upper = corrected_share(
        int(negative.sum()), len(negative), found.sensitivity, found.specificity, level=0.99
    )
    assert lower < (held["label"] == "negative").mean() < upper
    assert lower < share < upper


def test_the_sample_shops_moods_are_told_apart_by_a_model_of_other_texts() -> None:
    said = [(text, mood) for topic in TOPICS for mood in MOODS for text in comments(topic, mood)[:1]] * 3
    texts, moods = zip(*said, strict=True)
    found = sentiment(["太慢了"], texts, moods)
    assert found.labels == len(said)
    assert found.lower <= found.accuracy <= found.upper


def test_the_order_of_labels_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    texts = [f"{'很好' if i % 3 else '坏透'} {w}" for i, w in enumerate(rng.permutation(120))]
    labels = ["positive" if i % 3 else "negative" for i in range(120)]
    shuffled = rng.permutation(120)
    one = sentiment(["坏透了"], texts, labels)
    two = sentiment(["坏透了"], [texts[i] for i in shuffled], [labels[i] for i in shuffled])
    assert (one.accuracy, one.sensitivity, one.predicted[0]) == (two.accuracy, two.sensitivity, two.predicted[0])


@pytest.mark.parametrize(
    ("known", "labels"), [([], []), (["好", "坏", "哦"], ["positive"] * 3), (["好"] * 80, ["positive"] * 80)]
)
def test_few_labels_and_one_class_leave_the_lexicon(known: list[str], labels: list[str]) -> None:
    found = sentiment(["太差了", "👍"], known, labels)
    assert found.method == "lexicon"
    assert found.predicted.tolist() == ["negative", "positive"]
    assert np.isnan(found.accuracy) == (not labels)
    assert np.isnan(corrected_share(1, 2, found.sensitivity, found.specificity)).all()


def test_wrong_labels_are_refused_and_nothing_to_tell_apart_is_fine() -> None:
    with pytest.raises(ParameterError, match="each of negative"):
        sentiment(["好"], ["好"], ["great"])
    with pytest.raises(ParameterError, match="as many labels"):
        sentiment(["好"], ["好"], [])
    assert sentiment([]).predicted.tolist() == []


def test_the_corrected_share_by_hand() -> None:
    # (0.3 + 0.9 − 1) / (0.8 + 0.9 − 1) = 0.2857…; below the false alarms nothing is left
    assert corrected_share(30, 100, (80, 100), (90, 100))[0] == pytest.approx(0.2 / 0.7)
    assert corrected_share(5, 100, (80, 100), (90, 100))[0] == 0
    assert np.isnan(corrected_share(30, 100, (20, 100), (70, 100))).all()
    # 20 of 50 are known; of the 100 others, see above: 20/150 + 100/150 × 0.2857
    mixed = corrected_share(30, 100, (80, 100), (90, 100), known=(20, 50))
    assert mixed[0] == pytest.approx(20 / 150 + 100 / 150 * 0.2 / 0.7)
    assert mixed[2] - mixed[1] < 0.3  # less is unknown: 0.14 to 0.44 without labels
    assert corrected_share(0, 0, (0, 0), (0, 0), known=(3, 10))[0] == 0.3
    for wrong in ({"called": 3}, {"known": (3, 2)}):
        with pytest.raises(ParameterError):
            corrected_share(**{"called": 1, "n": 2, "sensitivity": (1, 1), "specificity": (1, 1)} | wrong)


@pytest.mark.parametrize(
    ("share", "n", "se", "sp", "labels"),
    [(0.15, 50, 0.8, 0.95, 60), (0.15, 2000, 0.7, 0.9, 200), (0.02, 300, 0.9, 0.97, 80)],
)
def test_the_interval_of_the_corrected_share_covers_the_truth(share, n, se, sp, labels) -> None:
    rng = np.random.default_rng(7)
    held = 0
    for seed in range(300):
        called = rng.binomial(n, share * se + (1 - share) * (1 - sp))
        bad = max(rng.binomial(labels, 0.3), 1)
        found = (rng.binomial(bad, se), bad), (rng.binomial(labels - bad, sp), labels - bad)
        _, lower, upper = corrected_share(called, n, *found, seed=seed)
        held += lower <= share <= upper
    # 95% of 300 is 285, with a standard error of 3.8
    assert held >= 276
