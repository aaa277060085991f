"""Customer value for teams that sell by livestream: lifetime value, churn, segments, funnels and experiments.

Everything public is reachable as ``clv.<name>`` after ``import clvlib as clv``; a submodule is imported when its first
name is used, so that ``import clvlib`` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> the module that defines it
_PUBLIC = {
    "connect": "clvlib.data.connect",
    "Shop": "clvlib.data.connect",
    "sample_shop": "clvlib.data.sample",
    "write_sample": "clvlib.data.sample",
    "BetaGeoModel": "clvlib.clv.models.beta_geo",
    "ModifiedBetaGeoModel": "clvlib.clv.models.modified_beta_geo",
    "BetaGeoCNBDkModel": "clvlib.clv.models.beta_geo_cnbd_k",
    "ModifiedBetaGeoCNBDkModel": "clvlib.clv.models.beta_geo_cnbd_k",
    "ParetoNBDModel": "clvlib.clv.models.pareto_nbd",
    "CorrelatedParetoNBDModel": "clvlib.clv.models.correlated_pareto_nbd",
    "ParetoGGGModel": "clvlib.clv.models.pareto_ggg",
    "GammaGompertzNBDModel": "clvlib.clv.models.gamma_gompertz_nbd",
    "NBDModel": "clvlib.clv.models.nbd",
    "BetaGeoBetaBinomModel": "clvlib.clv.models.beta_geo_beta_binom",
    "ShiftedBetaGeoModel": "clvlib.clv.models.shifted_beta_geo",
    "BetaDiscreteWeibullModel": "clvlib.clv.models.beta_discrete_weibull",
    "GammaGammaModel": "clvlib.clv.models.gamma_gamma",
    "DependentGammaGammaModel": "clvlib.clv.models.dependent_gamma_gamma",
    "CovariateModel": "clvlib.clv.models.covariates",
    "DynamicCovariateModel": "clvlib.clv.models.dynamic_covariates",
    "add_covariates": "clvlib.data.covariates",
    "LifetimeValue": "clvlib.clv.value",
    "backtest": "clvlib.clv.backtest",
    "bridge": "clvlib.clv.bridge",
    "profile_intervals": "clvlib.clv.inference",
    "bootstrap_intervals": "clvlib.clv.inference",
    "likelihood_ratio": "clvlib.clv.inference",
    "independence": "clvlib.clv.independence",
    "posterior_draws": "clvlib.clv.inference",
    "load": "clvlib.clv.models.base",
    "outlook": "clvlib.clv.outlook",
    "budget": "clvlib.clv.budget",
    "rcv": "clvlib.clv.rcv",
    "repurchase": "clvlib.clv.repurchase",
    "churn_risk": "clvlib.clv.churn",
    "contact_plan": "clvlib.clv.contact",
    "contact_effects": "clvlib.clv.contact_effects",
    "contact_review": "clvlib.clv.contact_review",
    "voice": "clvlib.clv.voice",
    "tiers": "clvlib.clv.tiers",
    "lifecycle": "clvlib.clv.lifecycle",
    "next_product": "clvlib.clv.next_product",
    "rfm": "clvlib.clv.rfm",
    "funnel": "clvlib.funnel",
    "Experiment": "clvlib.abtest.experiment",
    "Plan": "clvlib.abtest.plan",
    "proportion_interval": "clvlib.stats.proportions",
    "proportion_difference": "clvlib.stats.proportions",
    "proportion_effects": "clvlib.stats.proportions",
    "proportion_ratio": "clvlib.stats.proportions",
    "sample_ratio": "clvlib.stats.sampling",
    "sample_size_proportions": "clvlib.stats.sampling",
    "kaplan_meier": "clvlib.stats.survival",
    "bootstrap": "clvlib.stats.resample",
    "Chapter": "clvlib.report.chapter",
    "panel": "clvlib.report.panel",
}

__all__ = sorted([*_PUBLIC, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'clvlib' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
