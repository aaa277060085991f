"""lifetimes' names on clvlib's engine: change ``from lifetimes import …`` to ``from clvlib.compat.lifetimes import …``.

Fitters, utilities, generators, data sets and plots keep lifetimes' names, modules and signatures; what they do is done
by clvlib's models. ``clvlib/MIGRATION.md`` says what differs and why, and which name of clvlib's own takes over.

Examples
--------
>>> from clvlib.compat.lifetimes import BetaGeoFitter
>>> from clvlib.compat.lifetimes.datasets import load_cdnow_summary
>>> cdnow = load_cdnow_summary(index_col=[0])
>>> bgf = BetaGeoFitter(penalizer_coef=0.0)
>>> bgf.fit(cdnow["frequency"], cdnow["recency"], cdnow["T"])
<lifetimes.BetaGeoFitter: fitted with 2357 subjects, a: 0.79, alpha: 4.41, b: 2.43, r: 0.24>
"""

from __future__ import annotations

from clvlib.compat.lifetimes import datasets, generate_data, plotting, utils
from clvlib.compat.lifetimes.fitters import BaseFitter
from clvlib.compat.lifetimes.fitters.beta_geo_beta_binom_fitter import BetaGeoBetaBinomFitter
from clvlib.compat.lifetimes.fitters.beta_geo_fitter import BetaGeoFitter
from clvlib.compat.lifetimes.fitters.gamma_gamma_fitter import GammaGammaFitter
from clvlib.compat.lifetimes.fitters.modified_beta_geo_fitter import ModifiedBetaGeoFitter
from clvlib.compat.lifetimes.fitters.pareto_nbd_fitter import ParetoNBDFitter

__all__ = [
    "BaseFitter",
    "BetaGeoBetaBinomFitter",
    "BetaGeoFitter",
    "GammaGammaFitter",
    "ModifiedBetaGeoFitter",
    "ParetoNBDFitter",
    "__version__",
    "datasets",
    "generate_data",
    "plotting",
    "utils",
]

__version__ = "0.11.3"  # of the interface offered here
