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


def cnbd_log_likelihood(k, r, alpha, a, b, x, t_x, T, litt, at_start=0):
    """Reutterer, Platzer & Schröder 2021: gamma integrals of Erlang-k waits, then of at most k − 1 silent events."""
    with mp.workdps(DIGITS):
        r, alpha, a, b, t_x, T, litt = map(mp.mpf, (r, alpha, a, b, t_x, T, litt))
        e, s = x + at_start, r + k * x
        stays = mp.beta(a, b + e) / mp.beta(a, b)
        left = mp.beta(a + 1, b + e - 1) / mp.beta(a, b) if e > 0 else mp.mpf(0)
        silent = sum((T - t_x) ** j / mp.factorial(j) * mp.gamma(s + j) / (alpha + T) ** (s + j) for j in range(k))
        whole = stays * silent + left * mp.gamma(s) / (alpha + t_x) ** s
        return mp.log(alpha**r / mp.gamma(r) * mp.exp((k - 1) * litt) / mp.factorial(k - 1) ** x * whole)


def cnbd_log_likelihood_by_rate(k, r, alpha, a, b, x, t_x, T, litt, at_start=0):
    """The same, averaged over the rate numerically; for r not near 0."""
    with mp.workdps(30):
        e = x + at_start
        stays, left = mp.beta(a, b + e) / mp.beta(a, b), mp.beta(a + 1, b + e - 1) / mp.beta(a, b) if e > 0 else 0

        def given(rate):
            bought = rate ** (k * x) * mp.exp((k - 1) * litt - rate * t_x) / mp.factorial(k - 1) ** x
            silent = mp.gammainc(k, rate * (T - t_x), regularized=True)
            return alpha**r * rate ** (r - 1) * mp.exp(-alpha * rate) / mp.gamma(r) * bought * (stays * silent + left)

        peak = (mp.mpf(r) + k * x) / (alpha + t_x)
        return mp.log(mp.quad(given, [0, *(peak * c for c in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 4, 20))]))


def cnbd_shares(k, r, alpha, x, t_x, T):
    """Chances, given alive, that j of the k events to the next purchase are done; and the silence they add up to."""
    s, z = mp.mpf(r) + k * x, (mp.mpf(T) - t_x) / (mp.mpf(alpha) + T)
    parts = [mp.rf(s, j) / mp.factorial(j) * z**j for j in range(k)]
    return [part / sum(parts) for part in parts], sum(parts)


def cnbd_alive(k, r, alpha, a, b, x, t_x, T, at_start=0):
    with mp.workdps(40):
        e = x + at_start
        silence = cnbd_shares(k, r, alpha, x, t_x, T)[1]
        gone = ((mp.mpf(alpha) + T) / (mp.mpf(alpha) + t_x)) ** (mp.mpf(r) + k * x) / silence
        return 1 / (1 + mp.mpf(a) / (mp.mpf(b) + e - 1) * gone) if e > 0 else mp.mpf(1)


def cnbd_tail(k, r, alpha, a, b, x, t_x, T, h, n, at_start=0):
    """P(X(T, T + h) ≥ n | history): at least nk − j events of a Poisson process, and n − 1 chances survived."""
    with mp.workdps(30):
        shares, z = cnbd_shares(k, r, alpha, x, t_x, T)[0], mp.mpf(h) / (mp.mpf(alpha) + T + h)
        s, a, b = mp.mpf(r) + k * x, mp.mpf(a), mp.mpf(b) + x + at_start
        events = sum(q * mp.betainc(n * k - j, s + j, 0, z, regularized=True) for j, q in enumerate(shares))
        alive = cnbd_alive(k, r, alpha, a, b - x - at_start, x, t_x, T, at_start)
        return alive * events * mp.beta(a, b + n - 1) / mp.beta(a, b)


def cnbd_expected(k, r, alpha, a, b, x, t_x, T, h, at_start=0):
    total, n, term = mp.mpf(0), 1, mp.mpf(1)
    while term > total * mp.mpf(10) ** -12:
        term = cnbd_tail(k, r, alpha, a, b, x, t_x, T, h, n, at_start)
        total, n = total + term, n + 1
    return total


def gompertz_survival(u, b, s, beta):
    return (beta / (beta - 1 + mp.exp(b * u))) ** s


def gompertz_odds(r, alpha, b, s, beta, x, t_x, T):
    """Odds of having left: Bemmaor & Glady 2012, with the time of leaving integrated numerically."""
    with mp.workdps(20):
        r, alpha, b, s, beta, x, t_x, T = map(mp.mpf, (r, alpha, b, s, beta, x, t_x, T))
        if t_x == T:
            return mp.mpf(0)

        def density(u):
            hazard = s * b / (1 + (beta - 1) * mp.exp(-b * u))
            lived = gompertz_survival(u, b, s, beta) / gompertz_survival(T, b, s, beta)
            return hazard * lived * ((alpha + T) / (alpha + u)) ** (r + x)

        pace = (r + x) / (alpha + t_x) + b
        cuts = [t_x + c / pace for c in (0.5, 4, 16, 60, 200)] + [
            (mp.log(beta) + c) / b for c in (-9, -4, -2, 0, 2, 4, 9)
        ]
        return mp.quad(density, sorted({t_x, T, *(c for c in cuts if t_x < c < T)}))


def gompertz_expected(r, alpha, b, s, beta, x, t_x, T, h):
    with mp.workdps(20):
        alive = 1 / (1 + gompertz_odds(r, alpha, b, s, beta, x, t_x, T))
        r, alpha, b, s, beta, x, T, h = map(mp.mpf, (r, alpha, b, s, beta, x, T, h))
        cuts = [(mp.log(beta) + c) / b - T for c in (-9, -4, -2, 0, 2, 4, 9)] + [c / b for c in (0.01, 0.1, 1, 8)]
        now = gompertz_survival(T, b, s, beta)
        lived = mp.quad(
            lambda v: gompertz_survival(T + v, b, s, beta) / now,
            sorted({mp.mpf(0), h, *(c for c in cuts if 0 < c < h)}),
        )
        return alive * (r + x) / (alpha + T) * lived


def gompertz_tail(r, alpha, b, s, beta, x, t_x, T, t, n):
    """P(X(T, T + t) ≥ n | history): the n-th purchase comes at u ≤ t and is lived to see."""
    with mp.workdps(20):
        alive = 1 / (1 + gompertz_odds(r, alpha, b, s, beta, x, t_x, T))
        k, a, b, s, beta, T = mp.mpf(r) + x, mp.mpf(alpha) + T, mp.mpf(b), mp.mpf(s), mp.mpf(beta), mp.mpf(T)
        now = gompertz_survival(T, b, s, beta)

        def density(u):
            arrives = (u / a) ** (n - 1) / (1 + u / a) ** (n + k) / a / mp.beta(n, k)
            return arrives * gompertz_survival(T + u, b, s, beta) / now

        return alive * mp.quad(density, mp.linspace(0, t, 9))


def pareto_discounted(r, alpha, s, beta, x, t_x, T, rate, horizon):
    """∫ e^(−δt) E'(t) dt, where E' is P(alive) times the mean rate times P(not yet left at t)."""
    with mp.workdps(25):
        alive = 1 / (1 + pareto_odds(r, alpha, s, beta, x, t_x, T))
        k, a, b, s = mp.mpf(r) + x, mp.mpf(alpha) + T, mp.mpf(beta) + T, mp.mpf(s)
        end = min(mp.mpf(horizon), 60 / mp.mpf(rate))

        def density(y):
            t = b * mp.expm1(y)
            return mp.exp(-rate * t) * (b / (b + t)) ** s * (b + t)

        return alive * k / a * mp.quad(density, mp.linspace(0, mp.log1p(end / b), 9))
