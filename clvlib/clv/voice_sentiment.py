"""Is a comment a complaint? A lexicon answers until the shop has labels, then a model that learnt from them (V10)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.voice_lexicon import EMPHASIS, EXCEPTIONS, FAINT, NEGATIONS, NEGATIVE, POSITIVE, TURNS
from clvlib.clv.voice_sampling import LABELS
from clvlib.errors import ParameterError
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = [
    "LEXICON",
    "MODEL",
    "Sentiment",
    "corrected_share",
    "lexicon_score",
    "lexicon_sentiment",
    "segmenter",
    "sentiment",
]

LEXICON, MODEL = mark("lexicon"), mark("model learnt from labels")

_FEWEST = 50  # labels, and
_FEWEST_EACH = 10  # of two classes at least, from which a model is learnt
_FOLDS = 5
_DRAWS = 10_000
_NEAR = 3  # words within which a negation or an emphasis reaches
_CLAUSE = re.compile(r"[,，。.!！?？;；~～…\n]+")
_WORDS = re.compile(r"[a-z]+(?:['’][a-z]+)?|[:^][-_]?[)(d^]|[\u4e00-\u9fff]+|[^\sa-z0-9\u4e00-\u9fff]")
_KNOWN = POSITIVE | NEGATIVE | NEGATIONS | EMPHASIS | FAINT | TURNS | EXCEPTIONS
_WEIGHED = POSITIVE | NEGATIVE | NEGATIONS
_LONGEST_WORD = max(map(len, _KNOWN))
_PHRASES = sorted((w for w in _KNOWN if len(w) > 2 and "\u4e00" <= w[0] <= "\u9fff"), key=lambda w: (-len(w), w))
_PHRASE = re.compile(f"({'|'.join(_PHRASES)})")  # a segmentation would cut these in two: 不会 再


def lexicon_score(comment: str) -> float:
    """Weigh the words of a comment: above zero it praises, below it complains, zero is undecided.

    A word counts 1 or −1, half as much again behind an emphasis (很, very) and half as much behind 有点 or "slightly";
    a negation within three words before it turns it round, at 0.8 of its weight. What follows "but" counts half as much
    again.

    Parameters
    ----------
    comment : str

    Examples
    --------
    >>> [round(lexicon_score(text), 2) for text in ("很好", "不太好吃", "Not good 😡", "周三到的")]
    [1.5, -0.8, -1.8, 0.0]
    """
    score, turned = 0.0, 1.0
    for clause in _CLAUSE.split(comment.lower().replace("’", "'")):
        words = _split(clause)
        for place, word in enumerate(words):
            if word in TURNS:
                turned = 1.5
            value = float(word in POSITIVE) - float(word in NEGATIVE)
            if not value or (word in EMPHASIS | NEGATIONS and place + 1 < len(words) and words[place + 1] in _WEIGHED):
                continue
            before = words[max(0, place - _NEAR) : place]
            if any(w in EMPHASIS for w in before[-2:]):
                value *= 1.5
            if any(w in FAINT for w in before[-1:]):
                value *= 0.5
            if word.isalpha() and sum(w in NEGATIONS for w in before) % 2:
                value *= -0.8
            score += turned * value
    return score


def lexicon_sentiment(comments: Sequence[str]) -> NDArray[np.object_]:
    """Return positive, neutral or negative for each comment, by the sign of :func:`lexicon_score`."""
    signs = np.sign([lexicon_score(text) for text in comments]).astype(int)
    named: NDArray[np.object_] = np.array(LABELS, dtype=object)[signs + 1]
    return named


def _split(clause: str) -> list[str]:
    """Return the words of a clause: known phrases, else those of the segmentation, and the known ones inside others."""
    words: list[str] = []
    for piece in _WORDS.findall(clause):
        if piece[0] < "\u4e00" or piece[0] > "\u9fff":
            words.append(piece)
            continue
        for place, part in enumerate(_PHRASE.split(piece)):
            for word in [part] if place % 2 else segmenter().cut(part):
                words += [word] if word in _KNOWN else _inside(word)
    return words


def _inside(word: str) -> list[str]:
    """Return the known words of an unknown one, the longest first, from left to right."""
    found, place = [], 0
    while place < len(word):
        for size in range(min(_LONGEST_WORD, len(word) - place), 0, -1):
            if word[place : place + size] in _KNOWN:
                break
        found.append(word[place : place + size])
        place += size
    return found


@cache
def segmenter() -> Any:
    """Return what cuts Chinese text into words: with the import comes one that has its dictionary loaded."""
    import rjieba

    return rjieba


@dataclass(frozen=True)
class Sentiment:
    """How comments are told apart, and how well.

    Attributes
    ----------
    method : str
        ``lexicon`` or ``model learnt from labels``.
    predicted : array of str, shape (n,)
        positive, neutral or negative for each comment.
    labels : int
        Hand labels there are.
    accuracy, lower, upper : float
        Share of labels that the method finds, for a model in the folds it was not learnt from; not a number without
        labels.
    sensitivity, specificity : tuple of int
        Of the labelled negatives those found, and how many there are; of the others those not called negative.
    reason : str
        Why this method.
    """

    method: str
    predicted: NDArray[np.object_]
    labels: int
    accuracy: float
    lower: float
    upper: float
    sensitivity: tuple[int, int]
    specificity: tuple[int, int]
    reason: str


def sentiment(
    comments: Sequence[str],
    known: Sequence[str] = (),
    labels: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Sentiment:
    """Tell complaints from praise: by a lexicon, or by a model of the shop's labels where that finds more of them.

    The model is a logistic regression on the TF-IDF of one and two characters, which needs no segmentation. It is
    learnt from 50 labels on, with 10 of two classes each, and used where its cross-validated accuracy is above the
    lexicon's on the same labels. Comments of the same text stay in the same fold.

    Parameters
    ----------
    comments : sequence of str
        To be told apart, masked.
    known, labels : sequence of str
        Labelled comments, and positive, neutral or negative for each.
    level : float
        Of the interval of the accuracy.
    seed : int
        Of the folds.

    Returns
    -------
    Sentiment

    Raises
    ------
    ParameterError
        Labels of another kind, or not as many as comments that are known.

    Examples
    --------
    >>> sentiment(["太慢了", "味道很好"]).predicted.tolist()
    ['negative', 'positive']
    """
    truth = np.asarray(labels, dtype=object)
    if len(truth) != len(known) or not set(truth) <= set(LABELS):
        raise ParameterError(f"{len(known)} comments need as many labels, each of {', '.join(LABELS)}")
    guess = lexicon_sentiment(known)
    method, reason = LEXICON, tr("too few labels to learn from")
    folds = _folds(known, truth)
    told = _Told(known) if folds >= 2 else None
    if told is not None:
        learnt = _cross_validated(told, known, truth, folds, seed)
        if (learnt == truth).mean() > (guess == truth).mean():
            method, guess, reason = MODEL, learnt, tr("it finds more of the labels than the lexicon does")
        else:
            reason = tr("a model learnt from the labels finds no more of them")
    if not len(comments):
        predicted = np.empty(0, dtype=object)
    elif method == MODEL and told is not None:
        predicted = told.predicted(slice(None), truth, told.counted(comments))
    else:
        predicted = lexicon_sentiment(comments)
    accuracy, lower, upper = np.nan, np.nan, np.nan
    if len(truth):
        accuracy, lower, upper = proportion_interval(int((guess == truth).sum()), len(truth), level).iloc[0]
    negative, called = truth == LABELS[0], guess == LABELS[0]
    found = (int((negative & called).sum()), int(negative.sum()))
    spared = (int((~negative & ~called).sum()), int((~negative).sum()))
    return Sentiment(method, predicted, len(truth), accuracy, lower, upper, found, spared, reason)


def corrected_share(
    called: float,
    n: float,
    sensitivity: tuple[int, int],
    specificity: tuple[int, int],
    level: float = 0.95,
    seed: int = 0,
    known: tuple[float, float] = (0, 0),
) -> tuple[float, float, float]:
    """Correct the share that is called negative for misclassification, with an interval.

    The estimate is (p + Sp − 1) / (Se + Sp − 1), kept between 0 and 1 (Rogan & Gladen 1978). Its interval holds chance
    in all three shares: it is that of the same formula over draws from the beta posterior of each, with Jeffreys'
    prior. Where a draw tells nothing (Se + Sp ≤ 1) it counts as 0 for the lower limit and as 1 for the upper. Comments
    that have a label count as labelled, and are not among those called: a model knows what it learnt from better than
    Se and Sp say.

    Parameters
    ----------
    called, n : float
        Comments called negative, of how many; divided by their design effect where those of one person are alike.
    sensitivity, specificity : tuple of int
        Labelled negatives that were called so, and their number; others that were not, and their number.
    level : float
        Of the interval.
    seed : int
        Of the draws.
    known : tuple of float
        Comments labelled negative, of how many that have a label.

    Returns
    -------
    tuple of float
        Estimate, lower and upper limit of the share of all; not a number where no labels of both kinds, or none that
        the method tells apart, are there and comments without a label are.

    Raises
    ------
    ParameterError
        Counts that cannot be.

    Examples
    --------
    >>> estimate, lower, upper = corrected_share(30, 100, (80, 100), (90, 100))  # (.3 + .9 − 1) / (.8 + .9 − 1)
    >>> print(f"{estimate:.3f} {lower:.2f} {upper:.2f}")
    0.286 0.14 0.44
    """
    pairs = [(called, n), sensitivity, specificity]
    if any(not 0 <= x <= total for x, total in [*pairs, known]):
        raise ParameterError(f"counts lie between 0 and their totals; found {[*pairs, known]}")
    if known[1] and not n:
        labelled = proportion_interval(*known, level).iloc[0]
        return float(labelled["estimate"]), float(labelled["lower"]), float(labelled["upper"])
    if not all(total for _, total in pairs):
        return np.nan, np.nan, np.nan
    p, se, sp = (x / total for x, total in pairs)
    if se + sp <= 1:
        return np.nan, np.nan, np.nan
    generator = np.random.default_rng(seed)
    p_, se_, sp_ = (generator.beta(x + 0.5, total - x + 0.5, _DRAWS) for x, total in pairs)
    telling = se_ + sp_ > 1
    weight = known[1] / (n + known[1])
    fixed = weight * generator.beta(known[0] + 0.5, known[1] - known[0] + 0.5, _DRAWS) if weight else 0.0
    share = np.clip((p_ + sp_ - 1) / np.where(telling, se_ + sp_ - 1, 1.0), 0, 1)
    estimate = known[0] / (n + known[1]) + (1 - weight) * float(np.clip((p + sp - 1) / (se + sp - 1), 0, 1))
    tail = (1 - level) / 2
    lower = float(np.quantile(fixed + (1 - weight) * np.where(telling, share, 0.0), tail))
    upper = float(np.quantile(fixed + (1 - weight) * np.where(telling, share, 1.0), 1 - tail))
    return estimate, min(lower, estimate), max(upper, estimate)


def _folds(known: Sequence[str], truth: NDArray[np.object_]) -> int:
    """Return in how many folds the labels can be cross-validated; 0 where they are too few."""
    texts = pd.DataFrame({"text": list(known), "label": truth}).drop_duplicates()
    sizes = texts.groupby("label").size()
    if len(truth) < _FEWEST or (sizes >= _FEWEST_EACH).sum() < 2:
        return 0
    return _FOLDS


def _cross_validated(
    told: _Told, known: Sequence[str], truth: NDArray[np.object_], folds: int, seed: int
) -> NDArray[np.object_]:
    from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

    texts = np.asarray(known, dtype=object)
    order = np.lexsort((truth.astype(str), texts.astype(str)))  # so that the folds do not depend on the order of rows
    texts, kinds = texts[order], truth[order]
    guess = np.empty(len(truth), dtype=object)
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for learn, test in split.split(texts, _counted(kinds), groups=pd.factorize(texts)[0]):
        guess[order[test]] = told.predicted(order[learn], kinds[learn], told.counts[order[test]])
    return guess


def _counted(kinds: NDArray[np.object_]) -> NDArray[np.str_]:
    """Return the classes by which folds are balanced: those too small for every fold count as the largest one."""
    counts = pd.Series(kinds).value_counts()
    small = counts.index[counts < _FOLDS]
    return np.where(np.isin(kinds, small), counts.index[0], kinds).astype(str)


class _Told:
    """Labelled comments, their characters and pairs of characters counted once for all that is learnt from them."""

    def __init__(self, known: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]

        self._vectoriser = CountVectorizer(analyzer="char", ngram_range=(1, 2), max_features=100_000)
        self.counts = self._vectoriser.fit_transform(known)

    def counted(self, comments: Sequence[str]) -> Any:
        """Return the counts of other comments."""
        return self._vectoriser.transform(comments)

    def predicted(self, rows: Any, kinds: NDArray[np.object_], counts: Any) -> NDArray[np.object_]:
        """Learn from some of the labelled comments what the classes of others are."""
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

        learn = self.counts[rows]
        there = np.flatnonzero(np.asarray(learn.sum(axis=0)).ravel())
        weight = TfidfTransformer(sublinear_tf=True).fit(learn[:, there])
        model = LogisticRegression(C=30.0, max_iter=2000).fit(weight.transform(learn[:, there]), kinds.astype(str))
        return np.asarray(model.predict(weight.transform(counts[:, there])), dtype=object)
