"""What is true of a sample shop, with a description of every field."""

from __future__ import annotations

from typing import Any

__all__: list[str] = []


def describe(plan: Any, rows: dict[str, int]) -> dict[str, Any]:
    """Collect the truths."""
    from clvlib.data import sample_world as world

    return {"parameters": {"spend": dict(world.GAMMA_GAMMA)}, "rows": rows}
