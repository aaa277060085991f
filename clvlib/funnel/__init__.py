"""How people move towards an order, where they leave, and what explains a change (notebook 02).

The package itself is callable, so that ``clv.funnel(events, …)`` means the function :func:`clvlib.funnel.kernel.funnel`
whether or not anything has imported this package (which makes it an attribute of ``clvlib`` of the same name) before.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from clvlib.funnel.kernel import funnel

        return funnel(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:  # what help and Jupyter show
        from clvlib.funnel.kernel import funnel

        return inspect.signature(funnel)


sys.modules[__name__].__class__ = _Callable
funnel = sys.modules[__name__]  # what ``clv.funnel`` looks up: the package, so that its submodules stay reachable
