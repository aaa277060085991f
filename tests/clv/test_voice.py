"""The customer's voice: what is planted is found, what is not is not, and bad input is survived."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.voice import voice
from clvlib.clv.voice_plots import priority_plot, words_plot
from clvlib.clv.voice_themes import priorities, telling_words, themes, words_of
from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, ParameterError
from tests.conftest import shared_data

WEEK = Week("2026-W46")


def said(comments: list[str], **more: object) -> pd.DataFrame:
    people = [f"c{i}" for i in range(len(comments))]
    return pd.DataFrame({"customer_id": people, "created_at": pd.Timestamp("2026-11-10"), "comment": comments} | more)


def test_the_log_odds_by_hand() -> None:
    # 慢 is in 3 of the 4 words of negatives and 1 of the 4 of others; with 好 it makes up all words, so its prior is
    # 100 × 4/8 = 50. Monroe et al. (2008), (15): log(53/51) − log(51/53), variance (20): 1/53 + 1/51.
    table = telling_words(["慢", "慢", "慢", "好", "慢", "好", "好", "好"], [True] * 4 + [False] * 4)
    expected = 2 * np.log(53 / 51)
    assert table.index.tolist() == ["慢", "好"]
    assert table.loc["慢", "log_odds"] == pytest.approx(expected)
    assert table.loc["慢", "z"] == pytest.approx(expected / np.sqrt(1 / 53 + 1 / 51))
    assert table.loc["好", "log_odds"] == pytest.approx(-expected)


def test_words_of_real_complaints_and_none_where_labels_are_dealt_at_random() -> None:
    frame = pd.read_csv(shared_data("waimai_reviews") / "waimai_10k.csv").sample(3000, random_state=1)
    negative = (frame["label"] == 0).to_numpy()
    table = telling_words(list(frame["review"]), negative)
    telling = table.index[(table["z"] > 0) & (table["p_adjusted"] < 0.05)]
    assert {"慢", "差", "难吃"} <= set(telling)
    assert {"好吃", "不错", "快"} <= set(table.index[(table["z"] < 0) & (table["p_adjusted"] < 0.05)])
    dealt = telling_words(list(frame["review"]), np.random.default_rng(0).permutation(negative))
    assert (dealt["p_adjusted"] < 0.05).sum() <= 1
    assert (dealt["z"].abs() > 1.96).mean() < 0.06


def test_the_theme_is_the_topic_else_the_most_telling_word_else_other() -> None:
    table = pd.DataFrame({"z": [9.0, 5, 1, -8], "p_adjusted": [0, 0, 0.4, 0]}, index=["物流", "慢", "盒子", "好"])
    comments = pd.DataFrame({"comment": ["慢", "物流太慢", "盒子", "好", "慢"], "topic": [None] * 4 + ["price"]})
    assert themes(comments, table).tolist() == ["慢", "物流", "other", "other", "price"]
    assert words_of("[phone] [电话] the 13 快递") == {"快递"}


def test_priority_by_hand() -> None:
    # late: a (worst rating 1: severity 1) and b (rating 3: 0.5); dear: b (5: 0) and nobody known (mean of the rated)
    frame = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "b", None],
            "theme": ["late", "late", "late", "dear", "dear"],
            "rating": [1, 4, 3, 5, np.nan],
        }
    )
    table = priorities(frame, 10)
    usual = (1 + 0.25 + 0.5 + 0) / 4
    assert table.index.tolist() == ["late", "dear"]
    assert table["people"].tolist() == [2, 2]
    assert table["comments"].tolist() == [3, 2]
    assert table["priority"].tolist() == pytest.approx([1.5, usual])
    assert table["share"].tolist() == [0.2, 0.2]
    assert priorities(frame.assign(rating=np.nan), 10)["severity"].tolist() == [1, 1]
    even = priorities(frame.assign(theme=["x", "x", "y", "y", "y"], rating=[1, 1, 1, 1, 5]).iloc[:4], 10)
    assert even["rank"].tolist() == [1, 1]
    assert even["rank_upper"].tolist() == [2, 2]


def test_nothing_is_first_to_improve_where_all_gave_the_best_rating() -> None:
    heard = voice(said(["太慢了", "很差", "很好"], rating=5, topic="delivery"), WEEK)
    assert heard.table.loc["delivery", "people"] == 2
    assert heard.priority_sentence.startswith("Who complains gave 5 of 5")


def test_words_that_name_nothing_are_no_theme() -> None:
    assert words_of("不会再买，请尽快退款，根本没人管") == {"退款", "没人管"}


def test_what_has_no_theme_comes_last_however_many_say_it() -> None:
    frame = pd.DataFrame({"customer_id": range(50), "theme": ["other"] * 45 + ["late"] * 5, "rating": 1})
    table = priorities(frame, 50)
    assert table.index.tolist() == ["late", "other"]
    assert table[["rank", "rank_lower", "rank_upper"]].values.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert voice(said(["太差了"] * 2), WEEK).priority_sentence.endswith("no theme in common.")


def test_intervals_of_ranks_and_priorities_hold_the_truth() -> None:
    rng = np.random.default_rng(3)
    chance, severity = np.array([0.30, 0.25, 0.15, 0.08]), np.array([0.6, 0.5, 0.9, 0.8])
    truth = 150 * chance * severity  # 27, 18.75, 20.25, 9.6
    ranks = np.array([1, 3, 2, 4])
    rank_held, held, shops = np.zeros(4), np.zeros(4), 150
    for seed in range(shops):
        hit = rng.random((150, 4)) < chance
        person, theme = np.nonzero(hit)
        rating = 5 - 4 * np.clip(severity[theme] + rng.choice([-0.1, 0.1], len(theme)), 0, 1)
        frame = pd.DataFrame({"customer_id": person, "theme": np.array(list("abcd"))[theme], "rating": rating})
        table = priorities(frame, 150, draws=300, seed=seed).sort_index()
        rank_held += (table["rank_lower"] <= ranks) & (ranks <= table["rank_upper"])
        held += (table["lower"] <= truth) & (truth <= table["upper"])
    assert (rank_held / shops > 0.92).all()
    assert (held / shops > 0.80).all()


def test_the_sample_shop_complains_of_what_was_planted(sample_shop, sample: Path) -> None:
    feedback, orders = sample_shop.table("feedback"), sample_shop.table("orders")
    heard = voice(feedback, WEEK, orders, weeks=26)
    # late parcels are what makes its customers complain
    assert heard.table.index[0] == "delivery"
    assert heard.table["rank_upper"].iloc[0] == 1
    assert heard.sentiment.method == "model learnt from labels"
    rated = feedback.query(
        "SELECT AVG(CASE WHEN rating <= 2 THEN 1.0 ELSE 0.0 END) AS low FROM {t} AS t WHERE comment IS NOT NULL AND "
        "created_at < TIMESTAMP '2026-11-16' AND created_at >= TIMESTAMP '2026-05-18'"
    )["low"].iloc[0]  # its negative comments are those rated 1 or 2
    assert heard.lower <= rated <= heard.upper
    assert "delivery" in heard.priority_sentence
    assert not heard.sample["comment"].str.contains("13800000000|sample_wx|王小样").any()
    assert len(words_plot(heard).get_yticks()) > 4
    assert len(priority_plot(heard).patches) == len(heard.table)
    assert priority_plot(heard).get_title(loc="left").startswith("To improve first")
    assert priority_plot(heard).get_title(loc="left").endswith(f": {heard.table.index[0]}")
    fewest = int(heard.table["people"].nsmallest(2).iloc[1])  # one theme alone is below, so the next goes with it
    assert len(priority_plot(heard, fewest).patches) == len(heard.table) - 2
    again = voice(feedback, WEEK, orders, weeks=26)
    pd.testing.assert_frame_equal(heard.table, again.table)


@pytest.mark.parametrize("labelled", [200, 120])
def test_labels_are_believed_where_the_model_knows_them_by_heart(labelled: int) -> None:
    """Texts that a model learns by heart and hardly understands: 80 of 200 are negative, by their labels."""
    rng = np.random.default_rng(5)
    negative = np.arange(200) % 5 < 2
    hint = rng.random(200) < np.where(negative, 0.75, 0.25)
    letters = [chr(0x4E00 + code) for code in range(3000, 3400)]
    texts = ["".join(rng.choice(letters, 8)) + ("甲乙" if h else "丙丁") for h in hint]
    labels = np.where(negative, "negative", "positive").astype(object)
    labels[labelled:] = None
    heard = voice(said(texts, label=labels), WEEK)
    assert heard.sentiment.method == "model learnt from labels"
    assert heard.sentiment.accuracy < 0.85
    assert heard.labelled == labelled
    assert heard.lower < 0.4 < heard.upper
    assert heard.sentence.endswith("all have a label." if labelled == 200 else "of all).")
    if labelled == 200:
        assert heard.negative_share == heard.called_share == 0.4


def test_who_writes_often_is_one_person() -> None:
    """40 customers, three in ten of whom complain in all six of their comments: of 30 intervals at 90% 27 hold."""
    rng, held = np.random.default_rng(8), 0
    for _ in range(30):
        moods = np.repeat(rng.random(40) < 0.3, 6)
        frame = said(list(np.where(moods, "差评", "好评"))).assign(customer_id=np.repeat(np.arange(40), 6))
        heard = voice(frame, WEEK, level=0.9)
        held += heard.lower <= 0.3 <= heard.upper
    assert 24 <= held <= 29  # comments taken for people: some 12
    alone = voice(frame.assign(customer_id="a"), WEEK, level=0.9)
    assert alone.upper - alone.lower > 0.7


def test_nothing_later_and_no_order_of_rows_matters() -> None:
    texts = ["太慢了"] * 5 + ["很好"] * 9 + ["质量差"] * 3
    now = said(texts, rating=[1] * 5 + [5] * 9 + [2] * 3, topic=["delivery"] * 5 + [None] * 12)
    later = said(["差评"] * 20, rating=1, topic="later", label="negative").assign(created_at=pd.Timestamp("2026-11-16"))
    heard = voice(now, WEEK)
    other = voice(pd.concat([later, now.iloc[::-1]]), WEEK)
    pd.testing.assert_frame_equal(heard.table, other.table)
    pd.testing.assert_frame_equal(heard.sample, other.sample)
    assert heard.sentence == other.sentence


@pytest.mark.parametrize(
    "frame",
    [
        said(["好"]),
        said(["太差了 😡", "x" * 100_000, "好👍 great 物流慢"], rating=[7, -1, 0]),
        said(["差", "好", "一般"], label=["negative", "positive", "neutral"]),
        said(["差"] * 60, label="negative"),
        said(["差", "好"], rating=None, topic=None, label=None).assign(customer_id=None),
    ],
    ids=["one comment", "long, emoji, ratings out of range", "three labels", "one class", "nothing but comments"],
)
def test_bad_input_is_survived(frame: pd.DataFrame) -> None:
    heard = voice(frame, WEEK)
    assert 0 <= heard.lower <= heard.negative_share <= heard.upper <= 1
    assert heard.sentence.endswith(".")
    assert heard.method_sentence.endswith(".")
    assert heard.priority_sentence.endswith(".")
    assert len(heard.sample) == heard.comments
    with pytest.raises(EmptyDataError):
        words_plot(heard)


def test_what_cannot_be_answered_says_so() -> None:
    with pytest.raises(EmptyDataError, match="nobody wrote"):
        voice(said([None, " "]), WEEK)
    with pytest.raises(EmptyDataError, match="nobody wrote"):
        voice(said(["好"]), Week("2026-W40"))
    with pytest.raises(ParameterError, match="flags"):
        telling_words(["a"], [])
    quiet = voice(said(["很好"] * 5), WEEK)
    assert quiet.priority_sentence == "No comment complains."
    with pytest.raises(EmptyDataError, match="no theme has 1 people"):
        priority_plot(quiet)
