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


def pareto_odds(r, alpha, s, beta, x, t_x, T):
    """Odds of having left, by integrating over the time of leaving."""
    with mp.workdps(30):
        r, alpha, s, beta, x, t_x, T = map(mp.mpf, (r, alpha, s, beta, x, t_x, T))

        def density(u):
            return s / (beta + u) * ((alpha + T) / (alpha + u)) ** (r + x) * ((beta + T) / (beta + u)) ** s

        if t_x == T:
            return mp.mpf(0)
        pace = (r + x) / (alpha + t_x) + (s + 1) / (beta + t_x)
        cuts = [t_x] + [t_x + c / pace for c in (0.5, 2, 6, 18, 60, 200, 1000) if t_x + c / pace < T] + [T]
        return mp.quad(density, cuts)


def pareto_log_likelihood(r, alpha, s, beta, x, t_x, T):
    """Schmittlein, Morrison & Colombo 1987 with the time of leaving integrated numerically."""
    with mp.workdps(30):
        odds = pareto_odds(r, alpha, s, beta, x, t_x, T)
        r, alpha, s, beta, x, T = map(mp.mpf, (r, alpha, s, beta, x, T))
        stays = mp.loggamma(r + x) - mp.loggamma(r) + r * mp.log(alpha) + s * mp.log(beta)
        return stays - (r + x) * mp.log(alpha + T) - s * mp.log(beta + T) + mp.log(1 + odds)


def pareto_log_likelihood_textbook(r, alpha, s, beta, x, t_x, T):
    """Fader & Hardie 2005 (note 009) eq. 22 with 2F1, for α ≥ β and α < β."""
    with mp.workdps(50):
        r, alpha, s, beta, x, t_x, T = map(mp.mpf, (r, alpha, s, beta, x, t_x, T))
        big, small, second = (alpha, beta, s + 1) if alpha >= beta else (beta, alpha, r + x)

        def part(t):
            return mp.hyp2f1(r + s + x, second, r + s + x + 1, (big - small) / (big + t)) / (big + t) ** (r + s + x)

        a0 = part(t_x) - part(T)
        rest = (alpha + T) ** -(r + x) * (beta + T) ** -s + s / (r + s + x) * a0
        return mp.log(mp.gamma(r + x) / mp.gamma(r) * alpha**r * beta**s * rest)


def pareto_expected(r, alpha, s, beta, x, t_x, T, t):
    """Note 009 eq. 41 (conditional expectation); s = 1 by a step of 1e-20 aside."""
    with mp.workdps(50):
        alive = 1 / (1 + pareto_odds(r, alpha, s, beta, x, t_x, T))
        r, alpha, s, beta, x, T, t = map(mp.mpf, (r, alpha, s, beta, x, T, t))
        if s == 1:
            s += mp.mpf(10) ** -20
        grown = ((beta + T) / (beta + T + t)) ** (s - 1)
        return alive * (r + x) * (beta + T) / ((alpha + T) * (s - 1)) * (1 - grown)


def pareto_tail(r, alpha, s, beta, x, t_x, T, t, n):
    """P(X(T, T + t) ≥ n | history): the n-th purchase comes at u ≤ t and is lived to see."""
    with mp.workdps(20):
        alive = 1 / (1 + pareto_odds(r, alpha, s, beta, x, t_x, T))
        k, a, b, s = mp.mpf(r) + x, mp.mpf(alpha) + T, mp.mpf(beta) + T, mp.mpf(s)

        def density(u):
            return (u / a) ** (n - 1) / (1 + u / a) ** (n + k) / a / mp.beta(n, k) * (b / (b + u)) ** s

        return alive * mp.quad(density, mp.linspace(0, t, 9))


def bgbb_log_likelihood(alpha, beta, gamma, delta, x, t_x, n):
    """Fader, Hardie & Shang 2010 eq. 5."""
    with mp.workdps(40):
        a, b, c, d = map(mp.mpf, (alpha, beta, gamma, delta))
        x, t_x, n = int(x), int(t_x), int(n)
        total = mp.beta(a + x, b + n - x) / mp.beta(a, b) * mp.beta(c, d + n) / mp.beta(c, d)
        for i in range(n - t_x):
            total += mp.beta(a + x, b + t_x - x + i) / mp.beta(a, b) * mp.beta(c + 1, d + t_x + i) / mp.beta(c, d)
        return mp.log(total)


def bgbb_expected(alpha, beta, gamma, delta, x, t_x, n, h):
    """Fader, Hardie & Shang 2010 eq. 9, the closed form with gamma functions."""
    with mp.workdps(60):
        a, b, c, d = map(mp.mpf, (alpha, beta, gamma, delta))
        if c == 1:
            c += mp.mpf(10) ** -25
        level = mp.exp(bgbb_log_likelihood(alpha, beta, gamma, delta, x, t_x, n))
        first = mp.beta(a + x + 1, b + n - x) / mp.beta(a, b) / level * d / (c - 1) * mp.gammaprod([c + d], [1 + d])
        return first * (mp.gammaprod([1 + d + n], [c + d + n]) - mp.gammaprod([1 + d + n + h], [c + d + n + h]))
