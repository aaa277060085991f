"""Masking against comments that try to get through, and against those that have nothing to hide."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.clv.voice_masking import LONGEST, mask, shown
from clvlib.data.sample_words import MOODS, PRIVATE, TOPICS, comments
from clvlib.words import speaking, tr

SECRET = {
    "[phone]": [
        "打13800000000",
        "１３８００００００００",
        "138 0000-0000",
        "一三八零零零零零零零零",
        "幺三八〇〇〇〇〇〇〇〇",
        "1\u200b3\u200b8\u200b0\u200b0\u200b0\u200b0\u200b0\u200b0\u200b0\u200b0",
        "1️⃣3️⃣8️⃣0️⃣0️⃣0️⃣0️⃣0️⃣0️⃣0️⃣0️⃣",
        "+86 138 0000 0000",
        "1.3.8.0.0.0.0.0.0.0.0",
    ],
    "[number]": [
        "订单号 SF1234567890",
        "order #A-20391-77",
        "Order no. 998877",
        "身份证11010519491231002X",
        "卡号６２２２ ０２００ ００００ ００００",
        "010-12345678",
        "call (415) 555-0134",
        "177xxxx0056",
        "5b2f8c1e-1111-4222-8333-abcdef123456",
    ],
    "[e-mail]": [
        "me.you+tag@ex-ample.co.uk",
        "ｍｅ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "john at gmail dot com",
        "john [at] gmail [dot] com",
        "123456789@qq.com",
    ],
    "[account]": ["加我微信 sample_wx_0001", "VX：abc12345", "QQ号是12345678", "@小红书用户 快来"],
    "[address]": [
        "北京市朝阳区建国路88号院3号楼2单元1201室",
        "广东省深圳市南山区",
        "阳光小区3栋501",
        "八栋二单元三零二",
        "送到幸福路１２号",
        "I live at 12 Main Street, Apt 4",
        "123 main street",
    ],
    "[name]": [
        "收件人：王小明，没收到",
        "收货人欧阳娜娜",
        "姓名:李雷",
        "张女士很生气",
        "My name is John Smith",
        "Mr. Brown",
    ],
    "[link]": ["see https://t.cn/abc123", "www.example.com/a?b=c"],
}
OPEN = [
    "11月9号买的",
    "2026-11-09 下单",
    "99.50元",
    "12345.67元",
    "1号链接不好用，2号色",
    "等了80分钟，一百二十块",
    "说好48小时发货,下午2点05分",
    "超市里小区门口",
    "送到楼下就等了30分钟",
    "姓名不对，已签收，名字很好听",
    "5 stars, 10/10, 3 days on the road",
    "iPhone 15 Pro 256G 👍👍",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SECRET.items() for text in texts])
def test_what_gives_a_person_away_is_replaced(kind: str, text: str) -> None:
    (masked,) = mask([text])
    assert kind in masked
    assert sum(sign.isnumeric() for sign in masked) < 4
    assert not any(part in masked for part in ("小明", "娜娜", "李雷", "Smith", "Brown", "gmail", "sample_wx", "main"))


def test_a_comment_with_nothing_to_hide_stays_as_it_is() -> None:
    harmless = [text for topic in TOPICS for mood in MOODS for text in comments(topic, mood)]
    assert mask(OPEN) == OPEN
    assert mask(harmless) == harmless
    assert mask([None, float("nan"), ""]) == ["", "", ""]


def test_the_sample_shops_planted_secrets_are_found() -> None:
    phone, account, address = mask(PRIVATE)
    assert phone == "请打电话联系我 [phone]"
    assert account == "加我微信 [account] 处理退款"
    assert not any(part in address for part in ("幸福", "101", "王小样"))


@given(
    st.lists(st.sampled_from("0123456789０５９零五九"), min_size=11, max_size=18), st.sampled_from(["", " ", "-", "·"])
)
def test_no_long_number_gets_through_whatever_its_digits_look_like(digits: list[str], between: str) -> None:
    (masked,) = mask([f"号码{between.join(digits)}谢谢"])
    assert sum(sign.isnumeric() for sign in masked) == 0


@pytest.mark.parametrize("text", ["1", "a", "王", "市区", "1号楼", "a1-", "地址", "路1", "a@", "好的 "])
def test_a_comment_of_a_hundred_thousand_characters_takes_no_time(text: str) -> None:
    start = time.process_time()
    (masked,) = mask([text * (100_000 // len(text))])
    assert time.process_time() - start < 0.5
    assert len(masked) <= LONGEST + 20


def test_the_cut_leaves_no_half_number() -> None:
    (masked,) = mask(["好" * (LONGEST - 6) + "13800000000"])
    assert masked == "好" * (LONGEST - 6) + "…"


def test_masks_are_the_same_in_every_language_until_they_are_shown() -> None:
    with speaking("zh"):
        (masked,) = mask(["13800000000"])
        assert masked == "[phone]"
        assert shown([masked + "!"]) == [tr("[phone]") + "!"]
