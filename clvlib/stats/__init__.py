"""What several analyses share: intervals and tests, multiplicity, resampling, survival curves, repeated looks.

Nothing here imports anything else of clvlib, and all of it works on numbers, arrays and aggregates: rows stay where
they lie. Comparisons return an :class:`~clvlib.stats.effect.Effect`, whose interval and p-value come from one test.
"""
