"""The models in mpmath, in their textbook forms and with digits to spare: slow, and independent of the library."""

from __future__ import annotations

from itertools import product

import mpmath as mp

DIGITS = 60


def bg_log_likelihood(r, alpha, a, b, x, t_x, T, at_start=0):
    """Fader, Hardie & Lee 2005 eq. 3 averaged over rate and chance; MBG: one chance more (Batislam et al. 2007)."""
    with mp.workdps(DIGITS):
        r, alpha, a, b, x, t_x, T = map(mp.mpf, (r, alpha, a, b, x, t_x, T))
        e = x + at_start
        rate = mp.gamma(r + x) / mp.gamma(r) * alpha**r
        stays = mp.beta(a, b + e) / mp.beta(a, b) * (alpha + T) ** -(r + x)
        left = mp.beta(a + 1, b + e - 1) / mp.beta(a, b) * (alpha + t_x) ** -(r + x) if e > 0 else mp.mpf(0)
        return mp.log(rate * (stays + left))


def bg_alive(r, alpha, a, b, x, t_x, T, at_start=0):
    with mp.workdps(DIGITS):
        r, alpha, a, b, x, t_x, T = map(mp.mpf, (r, alpha, a, b, x, t_x, T))
        e = x + at_start
        if e == 0:
            return mp.mpf(1)
        return 1 / (1 + a / (b + e - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x))


def bg_expected(r, alpha, a, b, x, t_x, T, t, at_start=0):
    """Fader, Hardie & Lee 2005 eq. 10 with the textbook's 2F1; a = 1 by a step of 1e-30 aside."""
    with mp.workdps(DIGITS + 40):
        alive = bg_alive(r, alpha, a, b, x, t_x, T, at_start)
        r, alpha, a, b, x, T, t = map(mp.mpf, (r, alpha, a, b, x, T, t))
        if a == 1:
            a += mp.mpf(10) ** -30
        r, alpha, b = r + x, alpha + T, b + x + at_start
        hyper = mp.hyp2f1(r, b, a + b - 1, t / (alpha + t))
        return alive * (a + b - 1) / (a - 1) * (1 - (alpha / (alpha + t)) ** r * hyper)


def bg_tail(r, alpha, a, b, x, t_x, T, t, n, at_start=0):
    """P(X(T, T + t) ≥ n | history) by integrating over rate and chance one at a time."""
    with mp.workdps(30):
        alive = bg_alive(r, alpha, a, b, x, t_x, T, at_start)
        r, alpha, a, b = mp.mpf(r) + x, mp.mpf(alpha) + T, mp.mpf(a), mp.mpf(b) + x + at_start
        density = lambda u: u ** (r - 1) * mp.exp(-u) / mp.gamma(r)  # noqa: E731
        arrivals = mp.quad(
            lambda u: density(u) * mp.gammainc(n, 0, u / alpha * t, regularized=True), [0, r, 4 * r + 30]
        )
        return alive * arrivals * mp.beta(a, b + n - 1) / mp.beta(a, b)


def bg_discounted(r, alpha, a, b, x, t_x, T, rate, horizon, at_start=0):
    """∫ e^(−δt) E'(t) dt with the rate of purchasing E' averaged over λ and p."""
    with mp.workdps(15):
        alive = bg_alive(r, alpha, a, b, x, t_x, T, at_start)
        r, alpha, a, b = mp.mpf(r) + x, mp.mpf(alpha) + T, mp.mpf(a), mp.mpf(b) + x + at_start
        end = min(mp.mpf(horizon), 45 / mp.mpf(rate))

        def pace(y):  # t = α (e^y − 1); 2F1 after Pfaff
            t = alpha * mp.expm1(y)
            rise = mp.exp((1 - a) * y) * mp.hyp2f1(a + b - r - 1, a, a + b, -mp.expm1(-y))
            return mp.exp(-rate * t) * r * rise

        return alive * mp.quad(pace, mp.linspace(0, mp.log1p(end / alpha), 4))


def gamma_gamma_log_likelihood(p, q, gamma, x, m):
    """Fader & Hardie 2013 (note 025) eq. 1a."""
    with mp.workdps(DIGITS):
        p, q, gamma, x, m = map(mp.mpf, (p, q, gamma, x, m))
        first = mp.gamma(p * x + q) / (mp.gamma(p * x) * mp.gamma(q)) * gamma**q
        return mp.log(first * m ** (p * x - 1) * x ** (p * x) / (gamma + x * m) ** (p * x + q))


def histories(counts=(0, 1, 2, 9, 170, 4000), spans=(0.5, 39.0, 9000.0), shares=(0.02, 0.7, 1.0)):
    """(x, t_x, T) over the corners that peers fall over."""
    return [(x, 0.0 if x == 0 else share * T, T) for x, T, share in product(counts, spans, shares) if x or share == 1.0]
