"""What complaints are about, and what to improve first: people affected times severity (V10)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from clvlib.clv.voice_lexicon import EMPHASIS, NEGATIVE, POSITIVE, STOP
from clvlib.clv.voice_sentiment import segmenter
from clvlib.errors import ParameterError
from clvlib.stats.multiplicity import adjust
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark

__all__ = ["OTHER", "priorities", "telling_words", "themes", "words_of"]

OTHER = mark("other")

_PRIOR = 100.0  # words that the prior of the log-odds weighs
_FEWEST = 3  # comments that hold a word before it counts
_TOKENS = re.compile(r"[a-z]{3,}|[\u4e00-\u9fff]+")


def words_of(comment: str) -> set[str]:
    """Return the words of a comment that can name a theme, each once.

    >>> sorted(words_of("Too slow! 物流太慢了"))
    ['slow', '慢', '物流']
    """
    words: set[str] = set()
    for piece in _TOKENS.findall(comment.lower()):
        for word in [piece] if piece[0] < "\u4e00" else segmenter().cut(piece):
            bare = word[1:] if word[0] in EMPHASIS and word[1:] in POSITIVE | NEGATIVE else word
            if bare not in STOP and (len(bare) > 1 or bare in POSITIVE | NEGATIVE):
                words.add(bare)
    return words


def telling_words(comments: Sequence[str], negative: ArrayLike, level: float = 0.95) -> pd.DataFrame:
    """Find the words that set negative comments apart from the others.

    The measure is the log-odds ratio of a word with an informative Dirichlet prior, the prior being how often the word
    occurs in all comments (Monroe, Colaresi & Quinn 2008, equations 15 to 22). A comment counts a word once, so that
    nobody is heard more by repeating it.

    Parameters
    ----------
    comments : sequence of str
        Masked.
    negative : array_like of bool
        Which are.
    level : float
        Of the intervals, each for its word alone.

    Returns
    -------
    pandas.DataFrame
        By ``word``, those furthest on the side of the negatives first: ``negative`` and ``others`` (comments that hold
        it), ``log_odds`` with ``lower`` and ``upper``, ``z`` and ``p_adjusted`` (Benjamini & Hochberg). Words in fewer
        than three comments are left out; no row where there are no negatives, or nothing else.

    Raises
    ------
    ParameterError
        Not as many flags as comments.

    Examples
    --------
    >>> telling_words(["物流太慢", "慢", "太慢了", "很好", "好", "味道好"], [True] * 3 + [False] * 3).index.tolist()
    ['慢', '好']
    """
    flags = np.asarray(negative, dtype=bool)
    if len(flags) != len(comments):
        raise ParameterError(f"{len(comments)} comments need as many flags; found {len(flags)}")
    counts = Counter[str](), Counter[str]()
    for text, flag in zip(comments, flags, strict=True):
        counts[int(flag)].update(words_of(text))
    words = sorted(word for word in counts[0] | counts[1] if counts[0][word] + counts[1][word] >= _FEWEST)
    if not flags.any() or flags.all():
        words = []
    other, bad = (np.array([count[word] for word in words], dtype=float) for count in counts)
    both = other + bad
    alpha = _PRIOR * both / max(both.sum(), 1)
    odds = [np.log((y + alpha) / np.maximum(y.sum() + _PRIOR - y - alpha, 1e-12)) for y in (bad, other)]
    ratio = odds[0] - odds[1]
    error = np.sqrt(1 / (bad + alpha) + 1 / (other + alpha))
    reach = float(stats.norm.isf((1 - level) / 2)) * error
    z = ratio / error
    table = pd.DataFrame(
        {
            "negative": bad.astype(np.int64),
            "others": other.astype(np.int64),
            "log_odds": ratio,
            "lower": ratio - reach,
            "upper": ratio + reach,
            "z": z,
            "p_adjusted": adjust(2 * stats.norm.sf(np.abs(z)), "benjamini-hochberg").to_numpy(),
        },
        index=pd.Index(words, name="word", dtype=object),
    )
    return table.sort_values("z", ascending=False, kind="stable")


def themes(comments: pd.DataFrame, words: pd.DataFrame) -> pd.Series:
    """Return what each comment is about: its topic where it has one, else the telling word that it holds.

    Parameters
    ----------
    comments : pandas.DataFrame
        ``comment`` and ``topic``.
    words : pandas.DataFrame
        From :func:`telling_words`; those count that surely (adjusted, at 5%) belong to negatives, the first one first.

    Returns
    -------
    pandas.Series
        ``other`` where there is neither.
    """
    telling = words.index[(words["z"] > 0) & (words["p_adjusted"] < 0.05)]
    place = {word: i for i, word in enumerate(telling)}
    named = comments["topic"].astype(object)
    missing = named.isna()
    found = []
    for text in comments.loc[missing, "comment"].astype(str):
        held = [place[word] for word in words_of(text) if word in place]
        found.append(str(telling[min(held)]) if held else OTHER)
    named[missing] = found
    return named.rename("theme")


def priorities(
    complaints: pd.DataFrame, writers: int, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Rank themes by people affected times severity, with intervals of the ranks.

    The severity of a complaint is (5 − rating) / 4: from 0, where the rating is 5, to 1, where it is 1; without a
    rating it is the mean of those rated, and 1 where none is. A person counts in a theme once, with the worst of his
    complaints. Customers are drawn anew with all their complaints (bootstrap).

    Parameters
    ----------
    complaints : pandas.DataFrame
        ``customer_id`` (absent: a person of its own), ``theme`` and ``rating``.
    writers : int
        People who wrote a comment, whether they complained or not.
    level : float
        Of the intervals.
    draws : int
        Bootstrap draws.
    seed : int
        Of the draws.

    Returns
    -------
    pandas.DataFrame
        By ``theme``, the first to improve first: ``comments``, ``people``, ``share`` of all who wrote with
        ``share_lower`` and ``share_upper``, ``severity`` (mean), ``priority`` (people times severity) with ``lower``
        and ``upper``, ``rank`` with ``rank_lower`` and ``rank_upper``. Ranks of equals are the same,
        their intervals hold every place that they could take; ``other``, which is no theme, comes last.

    Examples
    --------
    >>> said = pd.DataFrame({"customer_id": list("abbc"), "theme": ["late", "late", "late", "dear"],
    ...                      "rating": [1, 3, 1, 3]})
    >>> priorities(said, 10)[["people", "severity", "priority", "rank"]].values.tolist()
    [[2.0, 1.0, 2.0, 1.0], [1.0, 0.5, 0.5, 2.0]]
    """
    rated = (5 - complaints["rating"].astype(float)) / 4
    usual = rated.mean() if rated.notna().any() else 1.0
    alone = pd.Series([f"\x00{place}" for place in range(len(complaints))], index=complaints.index)
    person = complaints["customer_id"].astype(object).where(complaints["customer_id"].notna(), alone).astype(str)
    frame = pd.DataFrame({"person": person, "theme": complaints["theme"].astype(str), "severity": rated.fillna(usual)})
    worst = frame.pivot_table(index="person", columns="theme", values="severity", aggfunc="max", observed=False)
    severe = worst.fillna(0.0)
    drawn = _drawn(severe.to_numpy(), draws, np.random.default_rng(seed))
    total = severe.sum().to_numpy()
    people = worst.notna().sum()
    tails = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.quantile(drawn, tails, axis=0) if len(total) else (total, total)
    named = severe.columns.to_numpy() != OTHER
    best, last = (_ranks(np.where(named, drawn, -1.0), ties=ties) for ties in (True, False))
    table = pd.DataFrame(
        {
            "comments": frame.groupby("theme").size().reindex(worst.columns),
            "people": people,
            "share": people / max(writers, 1),
            "severity": worst.mean(),
            "priority": total,
            "lower": lower,
            "upper": upper,
            "rank": _ranks(np.where(named, total, -1.0)[None, :], ties=True)[0],
            "rank_lower": np.quantile(best, tails[0], axis=0, method="lower") if len(total) else [],
            "rank_upper": np.quantile(last, tails[1], axis=0, method="higher") if len(total) else [],
        }
    ).rename_axis("theme")
    limits = proportion_interval(people, max(writers, 1), level) if len(table) else table[["lower", "upper"]]
    table.insert(3, "share_lower", limits["lower"])
    table.insert(4, "share_upper", limits["upper"])
    ranks = ["rank", "rank_lower", "rank_upper"]
    return table.astype(dict.fromkeys(ranks, np.int64)).sort_values(["rank", "theme"])


def _drawn(severe: NDArray[np.float64], draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the priorities of resampled people, a row per draw; who complains alike is drawn together."""
    kinds, counts = np.unique(severe, axis=0, return_counts=True)
    if not len(severe):
        return np.empty((0, severe.shape[1]))
    people: NDArray[np.int64] = generator.multinomial(len(severe), counts / len(severe), size=draws)
    return np.asarray(people @ kinds, dtype=np.float64)


def _ranks(values: NDArray[np.float64], *, ties: bool) -> NDArray[np.int64]:
    """Return the rank of each value in its row, the largest first: the best of equals, or the worst."""
    sorted_ = [np.sort(row) for row in -values.round(9)]
    side: Literal["left", "right"] = "left" if ties else "right"
    places = [np.searchsorted(row, own, side) for row, own in zip(sorted_, -values.round(9), strict=True)]
    return np.array(places, dtype=np.int64).reshape(values.shape) + int(ties)
