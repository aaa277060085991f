"""Intervals of value hold on real shops, and the command that measures this counts as hand arithmetic does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.clv.real_shops import SHOPS, gathered, outlooks, parts, real, shared, valued


def test_a_year_of_an_apparel_shop_lies_in_the_interval():
    """Half of 600 who bought clothes for six years, valued four times: estimates and chance alone hold 5 of 8."""
    rows = valued(next(parts(real("apparel"), *SHOPS["apparel"])), (28, 52, 104, 156), (12, 52))
    assert len(rows) == 8
    assert rows["model error too"].mean() > 0.8
    assert rows["model error too"].sum() >= rows["estimates alone"].sum() + 2
    assert rows["model"].between(0.05, 0.5).all()


def test_the_outlook_of_an_apparel_shop_holds():
    rows = outlooks(next(parts(real("apparel"), *SHOPS["apparel"])), (180,))
    assert rows["inside"].mean() > 0.8
    assert rows["inside"].sum() >= rows["record left out"].sum()


def test_what_is_shared_by_hand():
    """Errors 3 and 1, and −2 and −2: products 3 and 4, squares 9, 1, 4 and 4."""
    errors = pd.DataFrame({"week": [1, 1, 2, 2], "horizon": 4, "part": [0, 1, 0, 1], "error": [3.0, 1, -2, -2]})
    assert shared(errors) == pytest.approx((3 + 4) / 2 / (18 / 4))
    rng = np.random.default_rng(1)
    many = pd.DataFrame({"week": np.repeat(np.arange(4000), 3), "horizon": 4, "part": np.tile(np.arange(3), 4000)})
    common = np.repeat(rng.normal(0, 1, 4000), 3)
    assert shared(many.assign(error=common + rng.normal(0, 2, 12000))) == pytest.approx(1 / 5, abs=0.03)


def test_a_shop_without_data_is_left_out_with_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLVLIB_SHARED_DATA", str(tmp_path))
    assert gathered(["apparel"]) == ({}, {}, {})
    assert "apparel is left out: the real data set apparel is not on this machine" in capsys.readouterr().out
