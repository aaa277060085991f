"""The sample shop's fixed world: who, where, what is sold, and every true parameter that is a constant.

Everything here was made up for clvlib. Numbers are the truths that analyses are tested against; ``truth.json`` repeats
them beside each generated shop.
"""

from __future__ import annotations

import numpy as np

__all__: list[str] = []

DAY = 86_400
WEEK = 7 * DAY

# The purchase process, time in weeks: BG/NBD (Fader, Hardie & Lee 2005) in operational time; spend: Gamma-Gamma
# (Fader & Hardie, note 025) on the gross amount of an order, in CNY.
BG = {"r": 0.27, "alpha": 2.2, "a": 0.8, "b": 2.8}
GAMMA_GAMMA = {"p": 5.0, "q": 4.2, "gamma": 350.0}

# Seasonality of orders and of first orders alike
HOUR_WEIGHT = np.array([
    0.5, 0.25, 0.12, 0.08, 0.06, 0.08, 0.2, 0.4, 0.6, 0.7, 0.8, 0.95,
    1.3, 1.1, 0.8, 0.75, 0.8, 0.9, 1.1, 2.0, 4.5, 5.5, 4.5, 1.6,
])  # fmt: skip
WEEKDAY_FACTOR = np.array([0.93, 0.92, 0.93, 0.95, 1.06, 1.17, 1.15])  # Monday first
PAYDAY_FACTOR = {10: 1.25, 11: 1.2, 12: 1.1, 15: 1.15, 25: 1.12}  # day of month
HOLIDAY_FACTOR = {  # (month, day), first and last: factor
    "Women's Day": ((3, 6), (3, 8), 1.4),
    "Labour Day": ((5, 1), (5, 3), 1.15),
    "618 warm-up": ((6, 1), (6, 15), 1.1),
    "618": ((6, 16), (6, 18), 2.0),
    "National Day": ((10, 1), (10, 5), 0.85),
    "Double 11 warm-up": ((11, 1), (11, 9), 1.15),
    "Double 11 eve": ((11, 10), (11, 10), 1.5),
    "Double 11": ((11, 11), (11, 11), 3.2),
    "Double 12": ((12, 12), (12, 12), 2.0),
}
LAUNCH = {"burst": 1.6, "decay_weeks": 6.0}  # first orders per week ~ 1 + burst * exp(-week / decay)

PLATFORMS = ("Douyin", "Kuaishou", "Taobao Live", "JD Live")
HOME_PLATFORM_SHARE = 0.93  # of a customer's orders; the others go to any platform

# channel: share of first orders (referrals aside), platforms it leads to, tilt by purchase rate and by dropout, CAC
CHANNELS = (
    "Douyin",
    "Kuaishou",
    "Taobao Live",
    "JD Live",
    "Weibo",
    "Xiaohongshu",
    "Zhihu",
    "WeChat group",
    "Offline QR",
    "KOL",
    "Referral",
)
REFERRAL = CHANNELS.index("Referral")
CHANNEL_SHARE = np.array([0.28, 0.12, 0.14, 0.07, 0.07, 0.12, 0.03, 0.08, 0.04, 0.05, 0.0])
CHANNEL_PLATFORM = np.array(
    [
        [0.94, 0.02, 0.03, 0.01],
        [0.05, 0.92, 0.02, 0.01],
        [0.04, 0.02, 0.92, 0.02],
        [0.03, 0.02, 0.05, 0.90],
        [0.45, 0.15, 0.30, 0.10],
        [0.50, 0.05, 0.40, 0.05],
        [0.35, 0.05, 0.30, 0.30],
        [0.45, 0.25, 0.20, 0.10],
        [0.50, 0.25, 0.15, 0.10],
        [0.65, 0.20, 0.10, 0.05],
        [0.50, 0.20, 0.20, 0.10],
    ]
)
CHANNEL_RATE_TILT = np.array([0.0, 0.0, 0.1, 0.0, -0.4, 0.3, 0.2, 0.6, 0.2, -0.8, 0.5])
CHANNEL_DROPOUT_TILT = np.array([0.0, 0.1, 0.0, 0.0, 0.4, -0.2, 0.0, -0.5, -0.2, 0.8, -0.5])
CHANNEL_CAC = np.array([62.0, 48.0, 70.0, 78.0, 85.0, 58.0, 66.0, 18.0, 30.0, 120.0, 22.0])
CHANNEL_CPM = np.array([38.0, 26.0, 45.0, 48.0, 30.0, 42.0, 35.0, 12.0, 20.0, 90.0, 15.0])
CHANNEL_CTR = np.array([0.031, 0.027, 0.036, 0.030, 0.012, 0.028, 0.018, 0.065, 0.18, 0.040, 0.11])
CHANNEL_RETURNING = np.array([0.22, 0.10, 0.14, 0.07, 0.03, 0.08, 0.02, 0.26, 0.02, 0.04, 0.02])

PERSONAS = ("fashion", "beauty", "appliances", "value")
PERSONA_SHARE = np.array([0.27, 0.36, 0.14, 0.23])  # of buyers
VIEWER_PERSONA_SHARE = np.array([0.30, 0.27, 0.12, 0.31])
PERSONA_SPEND_TILT = np.array([0.1, 0.0, 1.2, -1.0])  # exponent on (2 u - 1), u the quantile of mean spend
PERSONA_RATE_TILT = np.array([0.3, 0.4, -0.9, 0.2])
PERSONA_COUPON = np.array([0.25, 0.28, 0.20, 0.55])  # share of orders paid with an ordinary coupon
PERSONA_FEMALE = np.array([0.68, 0.86, 0.38, 0.61])
PERSONA_AGE = np.array([[27.0, 6.0], [26.0, 6.5], [38.0, 8.5], [42.0, 11.0]])  # mean, standard deviation

CATEGORIES = ("beauty", "skincare", "fashion", "shoes and bags", "snacks", "home", "appliances", "baby")
PERSONA_CATEGORY = np.array(
    [
        [0.10, 0.08, 0.42, 0.22, 0.06, 0.07, 0.01, 0.04],
        [0.58, 0.22, 0.08, 0.03, 0.04, 0.03, 0.01, 0.01],
        [0.03, 0.03, 0.06, 0.04, 0.06, 0.24, 0.50, 0.04],
        [0.10, 0.08, 0.13, 0.07, 0.28, 0.21, 0.05, 0.08],
    ]
)
CATEGORY_SIZE = np.array([8, 8, 8, 7, 8, 7, 7, 7])  # products
PRODUCT_CATEGORY = np.repeat(np.arange(len(CATEGORIES)), CATEGORY_SIZE)
PRODUCTS = tuple(f"P{k:03d}" for k in range(1, len(PRODUCT_CATEGORY) + 1))
FIRST_PRODUCT = np.cumsum(CATEGORY_SIZE) - CATEGORY_SIZE
COMPANIONS = {1: 9, 3: 12, 6: 10, 17: 25, 20: 28, 31: 35, 41: 44, 46: 40, 54: 57, 11: 2}  # bought A, then B
COMPANION_PROBABILITY = 0.35  # that the order after A is for B, instead of a free choice

# The funnel, per visit: a person who is exposed once
STEPS = ("exposure", "click", "cart", "order", "paid")
STEP_BASE = {"click": 0.46, "cart": 0.160, "order": 0.68, "paid": 0.92}
PLATFORM_STEP = {  # factors on the base, per platform
    "click": np.array([1.04, 1.0, 0.97, 0.92]),
    "cart": np.array([1.03, 0.94, 1.02, 0.96]),
    "order": np.array([0.98, 0.97, 1.04, 1.05]),
    "paid": np.array([1.0, 0.98, 1.01, 1.02]),
}
CATEGORY_CART = np.array([1.04, 1.0, 0.98, 0.95, 1.08, 1.0, 0.88, 1.0])  # factor on click -> cart
DROP_PLATFORM, DROP_CATEGORY = "Douyin", "beauty"  # where click -> cart falls in the last week
DROP_TARGET = 0.108  # the whole shop's click -> cart by visit in that week
DROP_RANGE = (0.05, 0.5)  # of the factor that takes it there
INTERACTIONS = ("question", "draw", "trial")  # on air; who spends more joins in more, which is all there is to it
INTERACTION_SHARE = np.array([0.50, 0.35, 0.15])
INTERACTION = {"failed": 0.04, "paid": 0.06, "paid_by_spend": 0.20}  # paid: 0.06 + 0.20 * quantile of mean spend
RESERVE = {"failed": 0.02, "paid": 0.06}  # share of visits on air that were reserved some hours before
EVENTS = (*STEPS, *INTERACTIONS, "reserve")
VIEWERS_PER_CUSTOMER = 4
ANONYMOUS_SHARE = 0.03  # of visits without purchase carry the id of a platform instead of the customer's
ANONYMOUS_RESOLVED = 0.7  # of those ids stand in identities

HOSTS = tuple(f"H{k:02d}" for k in range(1, 9))
HOST_CART = np.array([1.18, 1.08, 1.04, 1.0, 0.98, 0.95, 0.90, 0.82])  # factor on click -> cart
HOST_REFUND = np.array([0.80, 0.90, 1.0, 1.0, 1.0, 1.1, 1.25, 1.60])  # factor on the refund rate
SCRIPTS = ("flash sale", "professional review", "story", "Q&A")

# After the order
CATEGORY_RETURN = np.array([0.045, 0.040, 0.110, 0.090, 0.015, 0.035, 0.050, 0.040])  # full return, a host of factor 1
CATEGORY_PARTIAL = np.array([0.015, 0.015, 0.025, 0.025, 0.030, 0.020, 0.020, 0.015])  # part of the money back
RETURN_REASONS = ("size or fit", "quality", "not as described", "arrived late", "changed mind", "damaged")
REASON_SHARE = np.array([0.28, 0.20, 0.18, 0.10, 0.16, 0.08])
LATE_BASE = 0.07  # probability that a delivery is late, where lateness is not the cause of leaving
COMPLAINT_BASE = 0.035
UNANSWERED_BASE = 0.04  # of those complaints are never answered
CAUSES = ("late delivery", "unanswered complaint", "price", "boredom")
CAUSE_SHARE = np.array([0.32, 0.18, 0.27, 0.23])
COMPLAINT_TOPICS = ("delivery", "quality", "service", "price", "host promise")
SEVERITIES = ("low", "medium", "high")

# Contacts
COUPON_DELAY_H = 48
COUPON_WINDOW_DAYS = 14
COUPON_HOLDOUT = 0.20
COUPON_EFFECT = 0.30  # of the orders within the window would not have come without the coupon
OTHER_HOLDOUT = 0.10
COUPONS = ("NEW20", "C48H", "VIP15", "FAN10", "D1111", "S618")

# Referrals: K = invitations per customer x acceptance
K_FACTOR = 0.12
ACCEPTANCE = 0.22
KOL_SHARE = 0.01
KOL_WEIGHT = 25.0  # times the invitations of others

# Experiments: person-level, enrolled at the first click of the period
SCRIPT_EFFECT = 0.032
ENROLMENT = 0.85
EXPERIMENT_WEEKS = (5, 4, 3, 2)  # weeks from the end, the last week being 1

CITIES = (
    ("Beijing", "Beijing", 0, 5.0),
    ("Shanghai", "Shanghai", 0, 6.0),
    ("Guangzhou", "Guangdong", 0, 4.5),
    ("Shenzhen", "Guangdong", 0, 4.5),
    ("Hangzhou", "Zhejiang", 1, 4.0),
    ("Chengdu", "Sichuan", 1, 4.0),
    ("Chongqing", "Chongqing", 1, 3.5),
    ("Wuhan", "Hubei", 1, 3.0),
    ("Xi'an", "Shaanxi", 1, 2.5),
    ("Nanjing", "Jiangsu", 1, 2.5),
    ("Suzhou", "Jiangsu", 1, 2.5),
    ("Zhengzhou", "Henan", 1, 2.5),
    ("Changsha", "Hunan", 1, 2.5),
    ("Qingdao", "Shandong", 1, 2.0),
    ("Shenyang", "Liaoning", 1, 2.0),
    ("Nantong", "Jiangsu", 2, 2.0),
    ("Luoyang", "Henan", 2, 2.0),
    ("Linyi", "Shandong", 2, 2.0),
    ("Ganzhou", "Jiangxi", 2, 2.0),
    ("Mianyang", "Sichuan", 2, 2.0),
    ("Zunyi", "Guizhou", 2, 1.8),
    ("Zhanjiang", "Guangdong", 2, 1.8),
    ("Baoding", "Hebei", 2, 1.8),
    ("Yichang", "Hubei", 2, 1.8),
    ("Liuzhou", "Guangxi", 2, 1.8),
    ("Daqing", "Heilongjiang", 2, 1.5),
    ("Shaoyang county", "Hunan", 3, 2.2),
    ("Cao county", "Shandong", 3, 2.2),
    ("Pizhou county", "Jiangsu", 3, 2.0),
    ("Gushi county", "Henan", 3, 2.0),
    ("Pujiang county", "Sichuan", 3, 1.8),
    ("Anxi county", "Fujian", 3, 1.8),
)
CITY_TIERS = ("tier 1", "tier 2", "tier 3", "rural")
PERSONA_TIER = np.array([[1.2, 1.1, 0.9, 0.7], [1.3, 1.1, 0.9, 0.6], [1.3, 1.2, 0.8, 0.6], [0.5, 0.8, 1.3, 1.8]])
INCOME_BANDS = ("below 5k", "5k-10k", "10k-20k", "above 20k")
TIER_INCOME = np.array(
    [[0.12, 0.38, 0.35, 0.15], [0.20, 0.45, 0.27, 0.08], [0.36, 0.45, 0.16, 0.03], [0.52, 0.38, 0.09, 0.01]]
)
GENDERS = ("female", "male")
UNKNOWN_SHARE = 0.06  # of people leave gender, birth year or income open, each

COMPETITORS = ("Lanyue Select", "Meihe Live", "Jingpin House", "Qingtian Mall", "Haowu Studio")
PROMOTIONS = ("full 300 minus 50", "second item half price", "flash sale", "free gift", "pre-sale deposit doubles")
TRAFFIC_SOURCES = ("short video", "paid feed", "KOL", "search", "fans")

ACCIDENT_WEEKS_FROM_END = 7  # the export of this week's Wednesday went wrong
ACCIDENT_SHARE = {"duplicates": 0.35, "unparsable_amount": 0.16, "missing_customer": 0.12, "future_time": 0.10}
ACCIDENT_EVENTS = ("expo_v2", "add2cart", "test")
SPRING_FESTIVAL_FACTOR = 0.6  # two days before New Year's Day to four days after it
