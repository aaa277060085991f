"""MBG/NBD: BG/NBD in which customers may leave right after the first purchase."""

from __future__ import annotations

from clvlib.clv.models.beta_geo import BetaGeoModel

__all__ = ["ModifiedBetaGeoModel"]


class ModifiedBetaGeoModel(BetaGeoModel):
    """MBG/NBD (Batislam, Denizel & Filiztekin 2007): as BG/NBD, but customers may leave right after the first purchase.

    Parameters are learned by ``fit``: r, alpha (in the time unit), a, b.

    Examples
    --------
    >>> import pandas as pd
    >>> model = ModifiedBetaGeoModel.with_parameters({"r": .5248436, "alpha": 6.1830928, "a": .8913878, "b": 1.6140483})
    >>> customer = pd.DataFrame({"frequency": [2], "recency": [30.43], "T": [38.86]}, index=["1"])
    >>> round(float(model.probability_alive(customer).iloc[0]), 4)
    0.7061
    """

    _at_start = 1
