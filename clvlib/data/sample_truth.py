"""What is true of a sample shop, with a description of every field."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt

from clvlib.data import sample_world as world
from clvlib.data.sample_plan import Plan

__all__: list[str] = []

Array = npt.NDArray[Any]

FIELDS = {
    "shop": "size, time and seed; the same values rebuild the same bytes",
    "rows": "data rows by table as written, the accident's copies included",
    "parameters.purchases": "BG/NBD, time in weeks of operational time. Each buyer has a rate ~ Gamma(shape r, rate "
    "alpha) and a probability ~ Beta(a, b) to leave after each repeat purchase (never after the first). Operational "
    "time runs with parameters.season, which averages to one. Two departures: hold-outs from the coupon lose orders "
    "(realised.orders_withheld), and script B wins some (realised.orders_won_by_script_b). Refunds are not part of it",
    "parameters.spend": "Gamma-Gamma on the gross amount of an order: amount ~ Gamma(shape p, rate nu), nu ~ Gamma("
    "shape q, rate gamma); independent of rate and dropout. The mean is p gamma / (q - 1)",
    "parameters.season": "intensity of orders and first orders: hour_weight by hour of the day (scaled to average one) "
    "times daily, the factor of each day, which averages to one and holds weekdays, paydays and holidays",
    "parameters.acquisition": "first orders per week ~ (1 + burst exp(-week / decay_weeks)) times the season",
    "parameters.personas": "share: weight before the tilts; tilts: exponents on (2 u - 1), u the quantile of the "
    "person's mean spend or purchase rate; viewer_share; coupon_share: orders with an ordinary coupon; categories: "
    "what they buy of free choice",
    "parameters.channels": "share of first orders (before the tilts; referrals are k_factor of all), tilts: exponents "
    "on (2 u - 1), u the quantile of purchase rate or dropout probability, so that channels differ in value; cac: "
    "cost of a new customer in CNY; platforms: where the channel leads",
    "parameters.products": "category and number of products; companions: after A the next order is for B with "
    "companion_probability, else a free choice",
    "parameters.funnel": "per visit without and with purchase: probability of each step = base x platform factor, for "
    "cart also x category factor x host factor (1 off air) x planted.click_to_cart_drop. By visit; a person makes at "
    "most one visit without purchase a week, unless a platform runs short of people, so weekly rates by person are "
    "close but not the same. Unpaid orders stand in events, never in orders",
    "parameters.after_order": "return_rate by category and partial_refund_rate, both of parcels that had time to come "
    "back; return_rate is multiplied by the host's refund factor; late_share: late parcels among the orders after "
    "which nobody left because of one; complaint_share and, of those, never_answered",
    "parameters.churn": "causes of leaving and their true shares among those who leave. Late delivery: the last parcel "
    "was late. Unanswered complaint: a complaint about the last order was never answered. Price: the last order had "
    "no coupon. Boredom: visits without purchase fade out half-way. About two in three negative comments say so",
    "parameters.coupon_48h": "sent delay_hours after an order to all but the holdout_share; effect: share of hold-outs "
    "who lose all their orders of the following window_days, so that with the coupon the chance to order within "
    "them is 1 / (1 - effect) times that without",
    "parameters.referrals": "k_factor: accepted invitations per buyer; acceptance: share of invitations accepted; "
    "kol_share of buyers invite kol_weight times as often",
    "parameters.interaction": "share of visits on air with a question, a draw or a trial; among paid visits it grows "
    "with the quantile of the buyer's mean spend, so that baskets are larger with interaction without being caused by "
    "it; reserve: share reserved some hours before",
    "parameters.identities": "anonymous_share: visits without purchase that carry an id of the platform; resolved: "
    "share of people whose platform id stands in identities",
    "planted.click_to_cart_drop": "in the last week, click -> cart of one platform and category is multiplied by it",
    "planted.script_experiment": "experiment 'script': B adds effect to the share that pays for an order within 7 "
    "days of assignment; baseline: share among all enrolled without help, the expectation of arm A. Assigned at "
    "the first click of the period, arms drawn evenly and independently",
    "planted.no_effect": "what was drawn without any effect on anything, and must not be found to have one",
    "planted.accident": "one day's order export: rows doubled exactly, amounts 'n/a' (empty in Parquet), customer ids "
    "missing, times a year ahead; and events that nobody knows the name of, copied from that day's first events",
    "realised.buyers": "people with an order, those won by script B included",
    "realised.orders": "orders, without the accident's copies",
    "realised.orders_withheld": "orders that hold-outs from the coupon did not make",
    "realised.orders_won_by_script_b": "orders that script B won",
    "realised.left": "customers who left, by cause, as far as the order after which they left was made",
    "realised.channels": "per channel: new customers, and means of their true rate, dropout probability and mean spend",
    "realised.visits": "visits by the step they reached at least, over all weeks",
    "realised.click_to_cart": "carts per click, by visit, for each week",
    "realised.repeat_share": "share of buyers with a second order",
    "realised.weekly_gmv": "mean gross amount ordered per week, CNY",
}


def _named(labels: Any, values: Array, digits: int = 4) -> dict[str, Any]:
    return {str(k): round(float(v), digits) for k, v in zip(labels, values, strict=True)}


def _counted(labels: Any, values: Array) -> dict[str, int]:
    return {str(k): int(v) for k, v in zip(labels, values, strict=True)}


def _parameters(plan: Plan) -> dict[str, Any]:
    season, p = plan.season, world
    days = [(season.start + dt.timedelta(days=k)).isoformat() for k in range(7 * season.weeks)]
    personas = zip(p.PERSONAS, p.PERSONA_CATEGORY, strict=True)
    return {
        "purchases": {"model": "BG/NBD", "unit": "weeks", **p.BG},
        "spend": {"model": "Gamma-Gamma", **p.GAMMA_GAMMA},
        "season": {"hour_weight": p.HOUR_WEIGHT.tolist(), "daily": _named(days, season.daily, 6)},
        "acquisition": p.LAUNCH,
        "personas": {
            "share": _named(p.PERSONAS, p.PERSONA_SHARE),
            "spend_tilt": _named(p.PERSONAS, p.PERSONA_SPEND_TILT),
            "rate_tilt": _named(p.PERSONAS, p.PERSONA_RATE_TILT),
            "viewer_share": _named(p.PERSONAS, p.VIEWER_PERSONA_SHARE),
            "coupon_share": _named(p.PERSONAS, p.PERSONA_COUPON),
            "categories": {name: _named(p.CATEGORIES, row) for name, row in personas},
        },
        "channels": {
            "share": _named(p.CHANNELS, p.CHANNEL_SHARE),
            "rate_tilt": _named(p.CHANNELS, p.CHANNEL_RATE_TILT),
            "dropout_tilt": _named(p.CHANNELS, p.CHANNEL_DROPOUT_TILT),
            "cac": _named(p.CHANNELS, p.CHANNEL_CAC),
            "platforms": {n: _named(p.PLATFORMS, r) for n, r in zip(p.CHANNELS, p.CHANNEL_PLATFORM, strict=True)},
        },
        "products": {
            "category": {p.PRODUCTS[k]: p.CATEGORIES[c] for k, c in enumerate(p.PRODUCT_CATEGORY)},
            "companions": {p.PRODUCTS[a]: p.PRODUCTS[b] for a, b in p.COMPANIONS.items()},
            "companion_probability": p.COMPANION_PROBABILITY,
        },
        "funnel": {
            "steps": list(p.STEPS),
            "base": dict(p.STEP_BASE),
            "platform": {step: _named(p.PLATFORMS, factor) for step, factor in p.PLATFORM_STEP.items()},
            "category": {"cart": _named(p.CATEGORIES, p.CATEGORY_CART)},
            "host": {"cart": _named(p.HOSTS, p.HOST_CART)},
        },
        **_service_parameters(),
    }


def _service_parameters() -> dict[str, Any]:
    p = world
    return {
        "after_order": {
            "return_rate": _named(p.CATEGORIES, p.CATEGORY_RETURN),
            "partial_refund_rate": _named(p.CATEGORIES, p.CATEGORY_PARTIAL),
            "host_refund_factor": _named(p.HOSTS, p.HOST_REFUND),
            "late_share": p.LATE_BASE,
            "complaint_share": p.COMPLAINT_BASE,
            "never_answered": p.UNANSWERED_BASE,
        },
        "churn": {"causes": _named(p.CAUSES, p.CAUSE_SHARE)},
        "coupon_48h": {
            "delay_hours": p.COUPON_DELAY_H,
            "window_days": p.COUPON_WINDOW_DAYS,
            "holdout_share": p.COUPON_HOLDOUT,
            "effect": p.COUPON_EFFECT,
        },
        "referrals": {
            "k_factor": p.K_FACTOR,
            "acceptance": p.ACCEPTANCE,
            "kol_share": p.KOL_SHARE,
            "kol_weight": p.KOL_WEIGHT,
        },
        "interaction": {**p.INTERACTION, "reserve": p.RESERVE},
        "identities": {"anonymous_share": p.ANONYMOUS_SHARE, "resolved": p.ANONYMOUS_RESOLVED},
    }


def _week_label(plan: Plan, week: int) -> str:
    year, number, _ = (plan.season.start + dt.timedelta(weeks=week)).isocalendar()
    return f"{year}-W{number:02d}"


def _planted(plan: Plan) -> dict[str, Any]:
    trial, accident, last = plan.trial, plan.accident, plan.season.weeks - 1
    category, platform = world.CATEGORIES.index(world.DROP_CATEGORY), world.PLATFORMS.index(world.DROP_PLATFORM)
    usual = world.STEP_BASE["cart"] * world.PLATFORM_STEP["cart"][platform] * world.CATEGORY_CART[category]
    weeks = [_week_label(plan, plan.season.weeks - k) for k in world.EXPERIMENT_WEEKS if k <= plan.season.weeks]
    drop = {
        "week": _week_label(plan, last),
        "platform": world.DROP_PLATFORM,
        "category": world.DROP_CATEGORY,
        "step": "cart",
        "factor": plan.drop,
        "usual_probability": round(usual, 6),
        "dropped_probability": round(usual * plan.drop, 6),
    }
    day = None if accident is None else (plan.season.start + dt.timedelta(days=accident.day)).isoformat()
    return {
        "click_to_cart_drop": drop if last else None,
        "script_experiment": {
            "experiment": "script",
            "variants": {"A": "flash sale", "B": "professional review"},
            "effect": world.SCRIPT_EFFECT,
            "baseline": round(trial.baseline, 6),
            "window_days": 7,
            "people": _counted("AB", np.bincount(trial.arm, minlength=2)),
            "weeks": weeks,
        },
        "no_effect": ["experiment cover_image", "competitors", "interaction", "sleeping_message", "win_back"],
        "accident": None if accident is None else {"day": day, **accident.counts},
    }


def _realised(plan: Plan, counts: Array) -> dict[str, Any]:
    orders, people = plan.orders, plan.people
    per_person = np.bincount(orders.person, minlength=len(people))
    channel = people.channel[: people.buyers]
    new = np.bincount(channel, minlength=len(world.CHANNELS))

    def mean(values: Array) -> Array:
        return np.bincount(channel, weights=values, minlength=len(new)) / np.maximum(new, 1)

    spend = world.GAMMA_GAMMA["p"] / people.spend_rate[: people.buyers]
    table = zip(world.CHANNELS, new, mean(people.rate), mean(people.dropout), mean(spend), strict=True)
    steps = counts[:, : len(world.STEPS)]
    ratio = steps[:, 2] / np.maximum(steps[:, 1], 1)
    return {
        "buyers": int((per_person > 0).sum()),
        "orders": len(orders),
        "orders_withheld": plan.withheld,
        "orders_won_by_script_b": len(plan.extra),
        "left": _counted(world.CAUSES, np.bincount(orders.cause[orders.cause >= 0], minlength=len(world.CAUSES))),
        "channels": {
            name: {"new_customers": int(n), "rate": round(r, 4), "dropout": round(d, 4), "mean_spend": round(m, 2)}
            for name, n, r, d, m in table
        },
        "visits": _counted(world.STEPS, steps.sum(axis=0)),
        "click_to_cart": _named([_week_label(plan, w) for w in range(len(ratio))], ratio),
        "repeat_share": round(float((per_person > 1).sum() / max((per_person > 0).sum(), 1)), 4),
        "weekly_gmv": round(float(orders.cents.sum()) / 100 / plan.season.weeks, 2),
    }


def describe(plan: Plan, rows: dict[str, int], counts: Array) -> dict[str, Any]:
    """Collect the truths.

    Parameters
    ----------
    plan : Plan
        The shop.
    rows : dict
        Rows by table.
    counts : ndarray, shape (weeks, kinds of events)
        Events by week and kind.
    """
    season = plan.season
    return {
        "about": "True parameters of a made-up shop; nothing here describes a real one. 'fields' explains each entry.",
        "shop": {
            "customers": plan.people.buyers,
            "weeks": season.weeks,
            "seed": plan.seed,
            "start": season.start.isoformat(),
            "end": (season.start + dt.timedelta(days=7 * season.weeks - 1)).isoformat(),
            "currency": "CNY",
            "timezone": "Asia/Shanghai",
        },
        "rows": rows,
        "parameters": _parameters(plan),
        "planted": _planted(plan),
        "realised": _realised(plan, counts),
        "fields": FIELDS,
    }
