"""A funnel by brute force: every start of every unit, every chain that its events could make. Slow, and plainly right.

Rules are those of the funnel: ``order``, ``optional`` (rows of ``steps``), ``gaps`` (row to longest gap), ``excluded``
(event to the rows of the steps that it bars, the number of steps standing for all), ``ties`` and ``reentry``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import product


@dataclass(frozen=True)
class Rules:
    steps: list
    window: float
    order: str = "ordered"
    optional: tuple = ()
    gaps: dict = field(default_factory=dict)
    excluded: dict = field(default_factory=dict)
    ties: bool = True
    reentry: bool = True

    @property
    def required(self):
        return [k for k in range(len(self.steps)) if k not in self.optional]

    def breaks(self, event, step):
        """Whether an event may not come on the way to a step."""
        target = min((k for k in self.required if k >= step), default=len(self.steps))
        if target in self.excluded.get(event, ()):
            return True
        last = max(k for k in self.required if k < step)
        return self.order == "strict" and event not in self.steps[last : target + 1]


def in_order(events, start, chain, rules):
    """Most steps of ``chain`` that can be made from the event at place ``start``."""

    def on(place, base, done):
        best = done
        if done == len(chain):
            return best
        step = chain[done]
        for later in range(place + 1, len(events)):
            time, event = events[later]
            if (
                event == rules.steps[step]
                and time - events[start][0] <= rules.window
                and time - base <= rules.gaps.get(step, rules.window)
                and (rules.ties or time > events[place][0])
                and not any(rules.breaks(between, step) for _, between in events[place + 1 : later])
            ):
                best = max(best, on(later, base if step in rules.optional else time, done + 1))
        return best

    return on(start, events[start][0], 1)


def at_once(events, start, chain, rules):
    """The same for plain rules: always take the earliest next event, which leaves most time for the rest."""
    since = at = events[start][0]
    for done, step in enumerate(chain[1:], 1):
        later = [t for t, e in events if e == rules.steps[step] and t >= at and t - since <= rules.window]
        if not later:
            return done
        at = min(later)
    return len(chain)


def any_order(events, start, chain, rules):
    """Most of the first steps of ``chain`` that were made within a window of each other, ``start`` among them."""
    places = [[p for p, (_, event) in enumerate(events) if event == rules.steps[step]] for step in chain]
    for depth in range(len(chain), 1, -1):
        for chosen in product([start], *places[1:depth]):
            low, high = min(chosen), max(chosen)
            between = [event for _, event in events[low:high]]
            if events[high][0] - events[low][0] <= rules.window and not any(e in rules.excluded for e in between):
                return depth
    return 1


def brute(rows, rules, cut=None, starts=(None, None), *, so_far=False):
    """Per unit ``(made, closed)``, where ``made`` says whether each step was; ``rows`` are (unit, time, event)."""
    place = {event: k for k, event in enumerate(rules.steps)}
    by_unit = defaultdict(list)
    for unit, time, event in rows:
        if unit is not None and time is not None and (cut is None or time < cut):
            by_unit[unit].append((time, event))
    result = {}
    low, high = starts
    for unit, some in by_unit.items():
        events = sorted(some, key=lambda e: (e[0], place.get(e[1], len(place))))
        first = [
            p for p, (t, e) in enumerate(events)
            if e == rules.steps[0] and (low is None or t >= low) and (high is None or t < high)
        ]  # fmt: skip
        first = first if rules.reentry else first[:1]
        closed = [p for p in first if cut is None or so_far or events[p][0] + rules.window < cut]
        if first:
            result[unit] = (_made(events, closed or first, rules), bool(closed))
    return result


def _made(events, counted, rules):
    plain = rules == Rules(rules.steps, rules.window)
    walk = any_order if rules.order == "any" else at_once if plain and len(events) > 40 else in_order

    def depth(chain):
        return max(walk(events, start, chain, rules) for start in counted)

    whole = depth(rules.required)
    made = {step: k < whole for k, step in enumerate(rules.required)}
    for step in rules.optional:
        made[step] = depth(sorted([*rules.required, step])) > whole
    return [made[k] for k in range(len(rules.steps))]


def people(result, k, *, closed=True):
    """Units that made each of ``k`` steps."""
    return [sum(made[step] and is_closed == closed for made, is_closed in result.values()) for step in range(k)]
