"""Wald's sequential test, for simulations whose every run is dear: most know after fewer runs than one would fix."""

from __future__ import annotations

from collections.abc import Iterable
from math import log


def seldom(errors: Iterable[bool], promised: float, wrong: float, alpha: float = 0.003, beta: float = 0.1) -> bool:
    """Whether errors are as rare as promised rather than as frequent as would be wrong, looking after each run.

    Wald (1945), Sequential Tests of Statistical Hypotheses, section 4: a share that is kept fails with a chance of
    alpha, and one that is wrong passes with a chance of beta, both nearly.
    """
    ratio = 0.0
    for error in errors:
        ratio += log(wrong / promised) if error else log((1 - wrong) / (1 - promised))
        if ratio >= log((1 - beta) / alpha):
            return False
        if ratio <= log(beta / (1 - alpha)):
            return True
    raise AssertionError("the runs ended before they told")
