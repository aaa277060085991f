"""What gives a person away is taken out of a comment before anyone reads it (V10, X4)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from clvlib.words import mark, tr

__all__ = ["LONGEST", "mask", "shown"]

LONGEST = 2_000  # characters of a comment that are looked at

_LINK, _MAIL, _ACCOUNT = mark("[link]"), mark("[e-mail]"), mark("[account]")
_PHONE, _NUMBER, _ADDRESS, _NAME = mark("[phone]"), mark("[number]"), mark("[address]"), mark("[name]")

_NUMERALS = str.maketrans("零〇一二三四五六七八九幺壹贰叁肆伍陆柒捌玖", "001234567891123456789")
_HAN = "[\u4e00-\u9fff]"
_SURNAME = (
    "[王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏"
    "钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文欧]"
)
_ROAD = "(?:路|街|大道|巷|弄|胡同|小区|花园|大厦|广场|公寓|苑|新村|家园|庄|村|街道)"
_UNIT = r"(?:号楼|号院|号|弄|栋|幢|座|单元|楼|层|室|房|户|#)"
_REGION = r"(?:省|自治区|自治州|(?<![超城上门都夜])市|(?<![小地社])区|县|镇)"
_TAIL = rf"(?:[\s,，\-]*[A-Za-z]?\d{{1,5}}(?:[\s\-]*{_UNIT})?)*"
_KEYS = (
    r"(?:订单编号|订单号|订单|单号|运单|身份证号码|身份证号|身份证|银行卡|卡号|账号|会员号|护照|"
    r"(?i:order|tracking|passport|account|card|customer|member))"
)

# In the order in which they are looked for: what comes first may hold what comes later. In each, the group "what" (or
# all of it) is replaced. Quantifiers are bounded, so that no comment takes long.
_PLAIN = (
    (_LINK, r"(?i:https?://|www\.)[^\s\u4e00-\u9fff，。！；]{1,300}"),
    (
        _MAIL,
        r"(?<![\w.%+-])[A-Za-z0-9._%+-]{1,64}\s?(?:@|[(\[]\s?at\s?[)\]])\s?[A-Za-z0-9-]{1,63}"
        r"(?:\s?(?:\.|[(\[]\s?dot\s?[)\]])\s?[A-Za-z0-9-]{2,63}){1,4}",
    ),
    (_MAIL, r"(?i:(?<![\w.%+-])[A-Za-z0-9._%+-]{1,64} at [A-Za-z0-9-]{1,63}(?: dot [A-Za-z0-9-]{2,63}){1,4})"),
    (
        _ACCOUNT,
        r"(?i:微信|weixin|wechat|威信|薇信|\bvx|v信|\bwx|qq|抖音号|快手号|支付宝|telegram|whatsapp|\bins\b)"
        r"(?:号码|号|账号|[是为:\s(]|id\b){0,4}(?P<what>(?=[\w.-]{0,30}[A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9_.-]{4,30})",
    ),
    (_ACCOUNT, r"(?<![A-Za-z0-9])@[\w\u4e00-\u9fff-]{2,20}"),
    (
        _NAME,
        rf"(?:收件人|收货人|联系人|签收人|姓名|户名|名字(?=是|叫|为|[:]))(?:是|为|叫|写的|[:\s])*(?P<what>(?![不没写错都和的也填])"
        rf"(?:{_HAN}|·){{2,4}}|[A-Z][A-Za-z'-]{{1,20}}(?: [A-Z][A-Za-z'-]{{1,20}}){{0,2}})",
    ),
    (_NAME, rf"(?:我叫|本人)(?P<what>{_SURNAME}{_HAN}{{1,2}})"),
    (_NAME, rf"{_SURNAME}{_HAN}{{0,2}}(?=先生|女士|小姐|太太)"),
    (_NAME, rf"(?<!{_HAN}){_SURNAME}{_HAN}{{1,2}}(?=[收]$|收[\s,，。.!！)])"),
    (
        _NAME,
        r"(?:(?i:my name is|name:|name is|recipient:?|receiver:?|attn:?|contact(?: person)?:|signed by)\s?|"
        r"\b(?:Mr|Mrs|Ms|Miss|Dr)\.?\s)(?P<what>[A-Z][A-Za-z'-]{1,20}(?: [A-Z][A-Za-z'-]{1,20}){0,2})",
    ),
    (_NAME, r"(?i:my name is|name:|recipient:)\s?(?P<what>[a-z'-]{2,20}(?: [a-z'-]{2,20})?)"),
)
_DIGITS = (
    (_ADDRESS, rf"(?:地址|住址|住在|家住|寄到|寄往|送到)[^。!！?？\n]{{0,10}}?(?:是|为|:|改成|改为|改到|在|到|\s)?"
               rf"(?P<what>(?=[^。!！?？;；\n]{{0,30}}(?:{_ROAD}\s?\d|{_REGION}|\d\s?(?:[号栋幢座室弄]|单元)))[^。!！?？;；\n]{{0,40}}\d"
               rf"[^。!！?？;；,，\n]{{0,12}})"),
    (_ADDRESS, rf"(?>{_HAN}{{2,8}}?{_REGION}){{0,4}}[\u4e00-\u9fffA-Za-z0-9]{{1,12}}?{_ROAD}\s?"
               rf"[A-Za-z]?\d{{1,5}}[\s\-]*(?:\d{{1,4}}[\s\-]*)?{_UNIT}{_TAIL}"),
    (_ADDRESS, rf"{_HAN}{{0,6}}(?:\d{{1,4}}\s?(?:号楼|号院|栋|幢|座|单元)[\s,，]*){{1,3}}"
               rf"[A-Za-z]?\d{{1,5}}\s?{_UNIT}?"),
    (_ADDRESS, rf"(?>{_HAN}{{2,8}}?{_REGION})(?>{_HAN}{{1,8}}?(?:{_REGION}|{_ROAD})){{1,4}}{_TAIL}"),
    (_ADDRESS, r"(?i:\b\d{1,5}[A-Za-z]?,? (?!(?:days?|hours?|minutes?|mins?|times?|weeks?|months?|stars?|out)\b)"
               r"(?:[a-z.]{2,20} ){1,3}(?:street|st|road|rd|avenue|ave|lane|ln|drive|boulevard|blvd|court|square)\b\.?"
               r"(?:,? ?(?:apt|apartment|suite|unit|flat|room|#)\.? ?\w{1,6})?)"),
    (_NUMBER, rf"{_KEYS}(?:\s|no\b\.?|number|num|id|号码|号|是|为|[:#.]){{0,6}}"
              r"(?P<what>(?=[A-Za-z-]{0,8}\d)[A-Za-z0-9-]{5,40})"),
    (_NUMBER, r"(?<![A-Za-z0-9])(?=(?:[A-Za-z_-]{0,20}\d){5})(?=[0-9_-]{0,40}[A-Za-z])[A-Za-z0-9_-]{7,64}"),
    (_PHONE, r"(?:\+|\b00)?\(?(?<!\d)(?<!\d[ \-–—_.·*()])(?:86[ -]{0,2})?1[ \-.·]?[3-9](?:[ \-–—_.·*()]{0,4}\d){9}"
               r"(?![ \-–—_.·*()]{0,4}\d)"),
    (_NUMBER, r"[+(]{0,2}(?<!\d)\d(?:[ \-–—_.·*()]{0,4}\d){6,40}[Xx]?"),
)  # fmt: skip
_DATE = re.compile(r"(?:19|20)\d\d[-./ ]?[01]?\d[-./ ]?[0-3]?\d|\d{5,9}\.\d{1,2}")
_FOUND = [(word, re.compile(pattern), False) for word, pattern in _PLAIN]
_FOUND += [(word, re.compile(pattern), True) for word, pattern in _DIGITS]
_MASKS = re.compile("|".join(re.escape(word) for word in dict.fromkeys(word for word, *_ in _FOUND)))
_UNSEEN = {"\ufe0f", "\u20e3"}  # what makes a digit an emoji
_END = re.compile(r"[\dA-Za-z@._+\-\s]{1,64}$")


def mask(comments: Iterable[object]) -> list[str]:
    """Replace what gives a person away: numbers, addresses, names, accounts.

    Full-width and written-out digits, digits with signs between them and invisible characters do not hide a number. A
    name is found only where something announces it (收件人, 姓名, 先生, "my name is"), an address by its form; dates
    and prices stay. Rather too much is masked than too little.

    Parameters
    ----------
    comments : iterable of str
        As they were written; what is absent becomes empty. Of a long one the first 2,000 characters are kept.

    Returns
    -------
    list of str
        With ``[phone]``, ``[number]`` (of orders, cards, identities), ``[e-mail]``, ``[account]``, ``[address]``,
        ``[name]`` and ``[link]``, in every language, so that what is computed from them is the same in all.

    Examples
    --------
    >>> mask(["请打电话联系我 １３８ 0000-0000", "订单号A12345还没到", "11月9号买的，99.50元"])
    ['请打电话联系我 [phone]', '订单号[number]还没到', '11月9号买的，99.50元']
    """
    texts = [text if isinstance(text, str) else "" for text in comments]
    masked = {text: _masked(text) for text in set(texts)}
    return [masked[text] for text in texts]


def shown(comments: Iterable[str]) -> list[str]:
    """Return masked comments with their masks in the language of the report."""
    return [_MASKS.sub(lambda found: tr(found[0]), text) for text in comments]


def _masked(text: str) -> str:
    if len(text) > LONGEST:
        text = _END.sub("", text[:LONGEST]) + "…"
    plain, digits, places = _plain(text)
    for word, pattern, written in _FOUND:
        spans = _spans(pattern, digits if written else plain)
        for start, end in reversed(spans):
            text = text[: places[start]] + word + text[places[end] :]
        if spans:
            plain, digits, places = _plain(text)
    return text


def _spans(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """Return from where to where a pattern finds something to be replaced."""
    group = "what" if "what" in pattern.groupindex else 0
    found = [match.span(group) for match in pattern.finditer(text) if not _DATE.fullmatch(match[0].strip())]
    return [(start, end) for start, end in found if start < end]


def _plain(text: str) -> tuple[str, str, list[int]]:
    """Return the text without what is invisible and with plain forms, also of numerals, and where each sign stood."""
    kept = [
        (form if len(form := unicodedata.normalize("NFKC", sign)) == 1 else sign, place)
        for place, sign in enumerate(text)
        if sign not in _UNSEEN and (sign < "\x80" or unicodedata.category(sign) != "Cf")
    ]
    plain = "".join(sign for sign, _ in kept)
    return plain, plain.translate(_NUMERALS), [*(place for _, place in kept), len(text)]
