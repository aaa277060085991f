"""What works: experiments from the assignment of people to a decision.

:class:`~clvlib.abtest.experiment.Experiment` asks the engine one question and decides from the aggregates that come
back; :mod:`~clvlib.abtest.metrics` says which aggregates a metric needs and how two arms are compared by them,
:mod:`~clvlib.abtest.gate` whether the data can carry a decision at all, :mod:`~clvlib.abtest.decision` what it is.
What was agreed beforehand is a :class:`~clvlib.abtest.plan.Plan`.
"""
