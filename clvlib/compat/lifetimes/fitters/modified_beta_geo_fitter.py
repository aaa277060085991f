"""MBG/NBD under lifetimes' name."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.compat.lifetimes.fitters.beta_geo_fitter import BetaGeoFitter
from clvlib.compat.lifetimes.generate_data import modified_beta_geometric_nbd_model

__all__ = ["ModifiedBetaGeoFitter"]


class ModifiedBetaGeoFitter(BetaGeoFitter):
    """MBG/NBD (Batislam and others 2007) with lifetimes' names; :class:`clvlib.ModifiedBetaGeoModel` does the work."""

    _model: ClassVar[type[PurchaseModel]] = ModifiedBetaGeoModel

    def _generate(self, size: int = 1) -> pd.DataFrame:
        return modified_beta_geometric_nbd_model(self._spans(size), size=size, **self._named(self._letters))
