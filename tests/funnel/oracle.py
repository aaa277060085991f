"""A funnel by brute force: every start of every unit, walked one event at a time. Slow, and plainly right."""

from __future__ import annotations

from collections import defaultdict


def depth_from(start, events, steps, window, strict):
    """Steps reached from one start: always take the earliest next event, which leaves most time for the rest."""
    at, depth = start, 1
    for step in steps[1:]:
        later = [t for t, e in events if e == step and (t > at if strict else t >= at) and t - start <= window]
        if not later:
            return depth
        at, depth = min(later), depth + 1
    return depth


def brute(rows, steps, window, cut=None, starts=(None, None), *, strict=False, so_far=False):
    """Per unit ``(depth, closed)``; ``rows`` are (unit, time, event) with integer times."""
    by_unit = defaultdict(list)
    for unit, time, event in rows:
        if unit is not None and time is not None and (cut is None or time < cut):
            by_unit[unit].append((time, event))
    result = {}
    for unit, events in by_unit.items():
        low, high = starts
        first = [t for t, e in events if e == steps[0] and (low is None or t >= low) and (high is None or t < high)]
        closed = [t for t in first if cut is None or so_far or t + window < cut]
        counted = closed or first
        if counted:
            depths = [depth_from(t, events, steps, window, strict) for t in counted]
            result[unit] = (max(depths), bool(closed))
    return result


def people(result, k, *, closed=True):
    """Units that reached each of ``k`` steps."""
    return [sum(depth > step and is_closed == closed for depth, is_closed in result.values()) for step in range(k)]
