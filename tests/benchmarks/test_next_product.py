"""Counting co-occurrence: CPU seconds for 300,000 baskets of five among 3,000 products, popular ones far ahead."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import time
import numpy as np
import scipy.sparse.linalg
from clvlib.clv.next_product_rules import count_pairs, incidence

rng = np.random.default_rng(1)
basket = np.repeat(np.arange(300_000), rng.poisson(4, 300_000) + 1)
product = np.minimum((3000 * rng.random(len(basket)) ** 2).astype(np.int64), 2999)
before = time.process_time()
held = incidence(basket, product, (300_000, 3000))
pairs, tested = count_pairs(held, held, 10)
print(time.process_time() - before, held.nnz, len(pairs), tested)
"""


@pytest.mark.slow
def test_counting_takes_half_a_second():
    """Issue 7 asks for 0.5 CPU s; twice that is allowed here, since test machines are shared."""
    run = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    seconds, cells, pairs, tested = map(float, run.stdout.split())
    print(f"\n{cells:,.0f} products in 300,000 baskets, {pairs:,.0f} of {tested:,.0f} pairs met: {seconds:.2f} CPU s")  # noqa: T201 - the measurement
    assert seconds < 1.0
