"""What customers of the sample shop write, by topic and mood; written for clvlib."""

from __future__ import annotations

__all__: list[str] = []

MOODS = ("positive", "neutral", "negative")
TOPICS = ("product", "delivery", "price", "service", "host")

_BODIES: dict[tuple[str, str], tuple[str, ...]] = {
    ("product", "positive"): (
        "质量很好,和直播里看到的一样",
        "用了一周,效果超出预期",
        "做工精细,手感不错",
        "颜色很正,家里人都说好看",
        "Quality is great, exactly as shown",
        "第二次买了,品质一直稳定",
        "包装严实,没有异味,很放心",
        "味道很好,孩子特别喜欢",
        "很好用,已经推荐给同事",
    ),
    ("product", "neutral"): (
        "还可以,没有想象中那么惊艳",
        "一般般,能用",
        "颜色和屏幕上有一点色差",
        "Okay for the price",
        "尺码略偏大,其他正常",
        "中规中矩,先用着看",
    ),
    ("product", "negative"): (
        "质量太差,用两天就坏了",
        "和直播说的完全不一样,很失望",
        "有色差,线头多,不值这个钱",
        "味道刺鼻,不敢用",
        "Poor quality, broke after two days",
        "尺码不准,穿不了,只能退货",
        "用了过敏,脸上起红点",
        "收到就是破损的,心情很差",
    ),
    ("delivery", "positive"): (
        "发货很快,第二天就到了",
        "物流给力,快递员态度也好",
        "Super fast delivery",
        "晚上下单,隔天中午就收到",
        "包裹完好,送货上门",
    ),
    ("delivery", "neutral"): (
        "物流正常,三天到",
        "快递放在驿站了,自己去取的",
        "Delivery was average",
        "速度一般,不算慢",
    ),
    ("delivery", "negative"): (
        "等了十天才到,太慢了",
        "一直不发货,催了好几次",
        "物流停了一个星期没人管",
        "Arrived far too late, I had given up",
        "包裹压坏了,里面东西洒了",
        "说好48小时发货,根本没做到",
    ),
    ("price", "positive"): (
        "价格划算,比店里便宜不少",
        "直播间价格真香",
        "用券以后性价比很高",
        "Good value with the coupon",
        "满减很实在,囤了一些",
    ),
    ("price", "neutral"): ("价格还行,和别家差不多", "不算便宜也不算贵", "Price is fair", "等活动再买会更好"),
    ("price", "negative"): (
        "买完第二天就降价,不给补差价",
        "比别的直播间贵了三十多",
        "太贵了,以后不会再买",
        "Overpriced, found it cheaper elsewhere",
        "优惠券根本用不了,套路太多",
        "先涨价再打折,没意思",
    ),
    ("service", "positive"): (
        "客服回复很快,很有耐心",
        "售后处理及时,点赞",
        "Friendly support, solved in minutes",
        "退换货很顺利,体验好",
    ),
    ("service", "neutral"): ("客服回复有点慢,不过解决了", "问了几个问题,回答比较官方", "Support was okay"),
    ("service", "negative"): (
        "客服一直不回消息",
        "投诉了没人理,态度很差",
        "退款拖了半个月还没到账",
        "No answer to my complaint at all",
        "售后互相推,没人解决问题",
    ),
    ("host", "positive"): (
        "主播讲解很专业,问题都回答了",
        "喜欢这个主播,真诚不夸张",
        "The host explains everything clearly",
        "直播间气氛好,抽奖还中了",
        "主播试穿很真实,有参考价值",
    ),
    ("host", "neutral"): ("主播语速有点快", "讲解一般,商品还行", "Host was fine, a bit loud"),
    ("host", "negative"): (
        "主播夸大宣传,收到落差很大",
        "一直喊倒计时,不让人考虑",
        "主播承诺的赠品没有发",
        "The host promised a gift, never came",
        "问问题主播从来不理",
    ),
}
_TAILS: dict[str, tuple[str, ...]] = {
    "positive": ("", "。", "!", ",会回购", ",推荐", " 👍", " ❤️", ",好评", ",五星", " 😊😊"),
    "neutral": ("", "。", ",先这样吧", ",再看看", " 🤔"),
    "negative": ("", "。", "!", ",差评", ",不会再来", " 😡", " 👎", ",要求退款", ",请尽快处理"),
}
# Comments that give a person away: a privacy filter has to mask them. The numbers belong to nobody.
PRIVATE = (
    "请打电话联系我 13800000000",
    "加我微信 sample_wx_0001 处理退款",
    "地址写错了,改成幸福路 1 号 101 室 王小样收",
)


def comments(topic: str, mood: str) -> list[str]:
    """Every comment that can be made on a topic in a mood."""
    return [body + tail for body in _BODIES[topic, mood] for tail in _TAILS[mood]]
