"""Whoever calls lifetimes' public functions and methods can call ours with the same arguments."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import clvlib.compat.lifetimes as ours
from clvlib.compat.lifetimes import datasets, generate_data, plotting, utils

DATASETS = [
    "load_cdnow_summary",
    "load_cdnow_summary_data_with_monetary_value",
    "load_dataset",
    "load_donations",
    "load_transaction_data",
]
PRIVATE_BUT_USED = ["_check_inputs", "_customer_lifetime_value", "_find_first_transactions", "_scale_time"]
HELPERS = {"coalesce", "forceAspect"}  # of lifetimes' plots, not in their __all__


def callable_alike(theirs, ours):
    """Whether all arguments of theirs exist in ours, in the same places, with the same defaults."""
    reference, found = (list(inspect.signature(function).parameters.values()) for function in (theirs, ours))
    same = [(p.name, p.kind, p.default) for p in reference] == [
        (p.name, p.kind, p.default) for p in found[: len(reference)]
    ]
    return same and all(p.default is not inspect.Parameter.empty for p in found[len(reference) :])


def public(module):
    return {
        name: value
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and name not in HELPERS
    }


def test_every_public_function_is_there_with_its_signature(theirs):
    pairs = [(theirs.utils, utils), (theirs.generate_data, generate_data), (theirs.plotting, plotting)]
    seen = 0
    for reference, module in pairs:
        for name, value in public(reference).items():
            if inspect.isfunction(value) and (not name.startswith("_") or name in PRIVATE_BUT_USED):
                assert callable_alike(value, getattr(module, name)), name
                seen += 1
        assert set(getattr(reference, "__all__", [])) <= set(module.__all__)
    assert seen == 4 + 4 + 5 + 10  # utils, its private ones, generators, plots
    assert issubclass(utils.ConvergenceError, theirs.utils.ConvergenceError.__bases__[0])


@pytest.mark.parametrize("name", [name for name in ours.__all__ if name.endswith("Fitter")])
def test_every_fitter_has_lifetimes_methods_with_their_signatures(theirs, name):
    reference, found = getattr(theirs.top, name), getattr(ours, name)
    for method in dir(reference):
        value = getattr(reference, method)
        if inspect.isfunction(value) and not method.startswith("_"):
            assert callable_alike(value, getattr(found, method)), method
    assert callable_alike(reference, found)
    assert isinstance(inspect.getattr_static(found, "summary"), property)
    module = reference.__module__.replace("lifetimes", "clvlib.compat.lifetimes")
    assert getattr(sys.modules[module], name) is found


def test_the_package_has_lifetimes_names(theirs):
    assert set(theirs.top.__all__) <= set(ours.__all__)
    assert ours.__version__ == theirs.top.__version__
    assert set(DATASETS) <= set(datasets.__all__)


def test_data_sets_are_those_of_the_papers():
    assert datasets.load_cdnow_summary(index_col=[0])["frequency"].sum() == 2457  # 2,357 customers of known_answers
    assert len(datasets.load_cdnow_summary()) == 2357
    assert datasets.load_donations()["weights"].sum() == 11104  # Fader, Hardie & Shang 2010
    log = datasets.load_transaction_data(parse_dates=["date"])
    assert list(log.columns) == ["date", "id"]
    assert log["date"].dt.year.eq(2014).all()


def test_lifetimes_itself_is_never_imported():
    code = (
        "import sys, clvlib.compat.lifetimes as lt; from clvlib.compat.lifetimes.datasets import load_cdnow_summary; "
        "c = load_cdnow_summary(); lt.BetaGeoFitter().fit(c['frequency'], c['recency'], c['T']); "
        "print('lifetimes' in sys.modules, 'matplotlib' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
