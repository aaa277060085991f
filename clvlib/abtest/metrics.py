"""Metrics of an experiment: each declares the aggregates that it needs and compares arms by these alone.

A metric never sees a person. It names SQL aggregates over one row per person (columns ``orders``, ``revenue``), which
are fetched for all metrics in one query, and reads them back from one row per arm.
"""

from __future__ import annotations

from clvlib.abtest.mean import Mean, Winsorised
from clvlib.abtest.metric import Metric
from clvlib.abtest.proportion import Proportion
from clvlib.abtest.ratio import Adjusted, Ratio, ShareOfSum
from clvlib.words import mark

__all__ = ["GUARDRAILS", "METRICS", "Adjusted", "Mean", "Metric", "Proportion", "Ratio", "ShareOfSum", "Winsorised"]

# what an experiment on orders can be judged by
METRICS: dict[str, Metric] = {
    "conversion": Proportion(mark("conversion"), "orders > 0"),
    "revenue": Mean(
        mark("revenue"),
        "revenue",
        capped={
            "p99": Winsorised("revenue p99", "revenue", cap="revenue_p99"),
            "p99_9": Winsorised("revenue p99.9", "revenue", cap="revenue_p99_9"),
        },
        per=Ratio(
            mark("spend per buyer"),
            "revenue",
            denominator="CASE WHEN orders > 0 THEN 1.0 ELSE 0.0 END",
            counts=mark("buyers"),
        ),
    ),
    "adjusted revenue": Adjusted(mark("adjusted revenue"), "revenue"),
}

# what must not rise for it; not every shop has the tables
GUARDRAILS: dict[str, Metric] = {
    "refund share": ShareOfSum(
        mark("refund share"),
        "refunded",
        denominator="gross",
        counts=mark("orders"),
        better="lower",
        needs=("orders.amount", "orders.net_amount"),
    ),
    "complaint rate": Proportion(mark("complaint rate"), "complaints > 0", better="lower", needs=("complaints",)),
}
