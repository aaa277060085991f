"""The voice of the customer (V10): what they complain of, how many, and what to improve first."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clvlib.clv.voice_sampling import LABELS, comments_of, labelled_of, weekly_sample
from clvlib.clv.voice_sentiment import MODEL, Sentiment, corrected_share, sentiment
from clvlib.clv.voice_themes import OTHER, priorities, telling_words, themes
from clvlib.data.calendar import Week
from clvlib.data.engine import Table
from clvlib.result import Result
from clvlib.stats.overdispersion import dispersed_proportions
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr

__all__ = ["Voice", "voice"]


@dataclass(frozen=True)
class Voice(Result):
    """What customers say; ``table`` has a row per theme of complaints, by priority.

    ``table`` is that of :func:`clvlib.clv.voice_themes.priorities`.

    Attributes
    ----------
    week : str
        The last one.
    weeks : int
        Weeks of comments that ``table``, ``words`` and the share look at.
    comments, writers : int
        Comments, and people who wrote them.
    negative_share, lower, upper : float
        Of comments that are negative: corrected for misclassification where labels allow it. The interval treats
        customers, not comments, as what repeats.
    corrected : bool
        Whether they do.
    labelled : int
        Comments that have a label, which is believed.
    called_share : float
        Of comments that are labelled negative, or have no label and are called so by the method.
    out_of_range : int
        Ratings below 1 or above 5, which do not count.
    level : float
        Of all intervals.
    sentiment : Sentiment
        How comments are told apart, and how well.
    words : pandas.DataFrame
        Words that set negatives apart, from :func:`clvlib.clv.voice_themes.telling_words`.
    sample : pandas.DataFrame
        Comments of the last week to be read and labelled, from :func:`clvlib.clv.voice_sampling.weekly_sample`, with
        what the method ``suggested``. Without a row where nobody wrote in the last week.
    """

    week: str
    weeks: int
    comments: int
    writers: int
    negative_share: float
    lower: float
    upper: float
    corrected: bool
    labelled: int
    called_share: float
    out_of_range: int
    level: float
    sentiment: Sentiment = field(repr=False)
    words: pd.DataFrame = field(repr=False)
    sample: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """How many complain."""
        told = {
            "n": self.comments,
            "weeks": self.weeks,
            "share": self.negative_share,
            "level": self.level,
            "lower": self.lower,
            "upper": self.upper,
            "called": self.called_share,
            "labelled": self.labelled,
        }
        if self.labelled == self.comments:
            return tr(
                "Of {n:,} comments in {weeks} weeks, {share:.1%} are negative ({level:.0%} interval {lower:.1%} to "
                "{upper:.1%}); all have a label.",
                **told,
            )
        if self.corrected and self.labelled:
            return tr(
                "Of {n:,} comments in {weeks} weeks, {share:.1%} are negative ({level:.0%} interval {lower:.1%} to "
                "{upper:.1%}); {labelled:,} of them have a label, the share of the others is corrected for errors "
                "(before that {called:.1%} of all).",
                **told,
            )
        if self.corrected:
            return tr(
                "Of {n:,} comments in {weeks} weeks, {share:.1%} are negative ({level:.0%} interval {lower:.1%} to "
                "{upper:.1%}); {called:.1%} were called so, before the correction for errors.",
                **told,
            )
        return tr(
            "Of {n:,} comments in {weeks} weeks, {share:.1%} are called negative ({level:.0%} interval {lower:.1%} to "
            "{upper:.1%}); without labels the errors of that are not known.",
            **told,
        )

    @property
    def method_sentence(self) -> str:
        """How comments are told apart, and how well."""
        found = self.sentiment
        told = {
            "labels": found.labels,
            "accuracy": found.accuracy,
            "level": self.level,
            "lower": found.lower,
            "upper": found.upper,
            "reason": found.reason,
        }
        if not found.labels:
            return tr("A lexicon tells comments apart; no label says yet how well. Labelling the sample will.")
        if found.method == MODEL:
            return tr(
                "A model learnt from {labels:,} labels tells comments apart; of labels that it had not seen it finds "
                "{accuracy:.1%} ({level:.0%} interval {lower:.1%} to {upper:.1%}).",
                **told,
            )
        return tr(
            "A lexicon tells comments apart, because: {reason}. Of {labels:,} labels it finds {accuracy:.1%} "
            "({level:.0%} interval {lower:.1%} to {upper:.1%}).",
            **told,
        )

    @property
    def priority_sentence(self) -> str:
        """What to improve first, and how sure that is."""
        if self.table.empty:
            return tr("No comment complains.")
        if self.table.index[0] == OTHER:
            return tr("What negative comments complain of has no theme in common.")
        first = self.table.iloc[0]
        if not first["priority"] > 0:
            return tr("Who complains gave 5 of 5 all the same, so nothing comes first to improve.")
        told = {
            "theme": tr(str(self.table.index[0])),
            "people": int(first["people"]),
            "severity": first["severity"],
            "level": self.level,
            "lower": int(first["rank_lower"]),
            "upper": int(first["rank_upper"]),
            "themes": len(self.table),
        }
        if told["upper"] > 1:
            return tr(
                "First to improve is {theme}: {people:,} people complain of it, with a severity of {severity:.2f} of "
                "1; that is not sure: among {themes} themes its rank lies between {lower} and {upper} ({level:.0%} "
                "interval).",
                **told,
            )
        return tr(
            "First to improve is {theme}: {people:,} people complain of it, with a severity of {severity:.2f} of 1.",
            **told,
        )


def voice(
    feedback: Table | pd.DataFrame,
    week: Week | str,
    orders: Table | pd.DataFrame | None = None,
    *,
    weeks: int = 4,
    size: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Voice:
    """Listen to what customers wrote.

    Parameters
    ----------
    feedback : Table or pandas.DataFrame
        ``customer_id``, ``created_at``, ``comment``; and ``rating``, ``topic``, ``label`` (positive, neutral, negative:
        by hand; a label is believed more than what a method says).
    week : Week or str
        The last one; nothing later is looked at.
    orders : Table or pandas.DataFrame, optional
        ``customer_id`` and ``ordered_at``; the sample then holds new and returning customers in proportion.
    weeks : int
        Of comments that are looked at, the last one among them.
    size : int
        Comments of the sample.
    level : float
        Of all intervals.
    seed : int
        Of the sample, the folds and the draws.

    Returns
    -------
    Voice
        Those who write are not all customers: intervals hold chance, not who chose to speak.

    Raises
    ------
    EmptyDataError
        Nobody wrote in these weeks.
    ParameterError
        Less than one week, or a sample of nothing.

    Examples
    --------
    >>> said = pd.DataFrame({"customer_id": list("abcd"), "created_at": pd.Timestamp("2026-11-10"),
    ...                      "comment": ["太慢了", "送得太慢，差评", "很好", "推荐 👍"], "rating": [1, 2, 5, 5],
    ...                      "topic": ["delivery", "delivery", None, None]})
    >>> heard = voice(said, Week("2026-W46"))
    >>> heard.table[["people", "severity", "rank"]].values.tolist()
    [[2.0, 0.875, 1.0]]
    """
    week = Week(week) if isinstance(week, str) else week
    comments = comments_of(feedback, week, weeks, orders)
    known = labelled_of(feedback, week)
    found = sentiment(list(comments["comment"]), list(known["comment"]), list(known["label"]), level, seed)
    comments = comments.assign(suggested=found.predicted)
    mood = comments["label"].where(comments["label"].notna(), comments["suggested"])
    share, corrected = _negative_share(comments, mood == LABELS[0], found, level, seed)
    words = telling_words(list(comments["comment"]), (mood == LABELS[0]).to_numpy(), level)
    bad = comments[mood == LABELS[0]]
    writers = int(comments["customer_id"].nunique() + comments["customer_id"].isna().sum())
    last = comments[pd.to_datetime(comments["created_at"]) >= pd.Timestamp(week.start)]
    return Voice(
        week=week.label,
        weeks=weeks,
        comments=len(comments),
        writers=writers,
        negative_share=share[0],
        lower=share[1],
        upper=share[2],
        corrected=corrected,
        labelled=int(comments["label"].notna().sum()),
        called_share=float((mood == LABELS[0]).mean()),
        out_of_range=int(comments.attrs["out_of_range"]),
        level=level,
        sentiment=found,
        words=words,
        sample=weekly_sample(last, size, seed),
        table=priorities(bad.assign(theme=themes(bad, words)), writers, level, seed=seed),
    )


def _negative_share(
    comments: pd.DataFrame, negative: pd.Series, found: Sentiment, level: float, seed: int
) -> tuple[tuple[float, float, float], bool]:
    """Return the share of negatives with its limits, and whether it is corrected for errors of the method.

    Counts are divided by how much more they vary than if each comment were another person's.
    """
    labelled = comments["label"].notna()
    each = _design_effect(comments["customer_id"], negative)
    (called, n), known = ((part.sum() / each, len(part) / each) for part in (negative[~labelled], negative[labelled]))
    share = corrected_share(called, n, found.sensitivity, found.specificity, level, seed, known)
    if np.isfinite(share[0]):
        return share, True
    estimate, lower, upper = proportion_interval(negative.sum() / each, len(negative) / each, level).iloc[0]
    return (float(estimate), float(lower), float(upper)), False


def _design_effect(customers: pd.Series, negative: pd.Series) -> float:
    """Return how much more the count of negatives varies, since comments of one customer are alike."""
    alone = pd.Series([f"\x00{place}" for place in range(len(customers))], index=customers.index)
    person = pd.factorize(customers.astype(object).where(customers.notna(), alone))[0]
    if person.max() == 0:
        return float(len(customers))
    hits, said = np.bincount(person, negative), np.bincount(person)
    return float(dispersed_proportions(hits, said)["design_effect"].iloc[0])
