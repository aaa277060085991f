"""Words that praise or complain, in Chinese and English: ours, for comments on goods that are sent home (V10)."""

from __future__ import annotations

__all__ = ["EMPHASIS", "EXCEPTIONS", "FAINT", "NEGATIONS", "NEGATIVE", "POSITIVE", "STOP", "TURNS"]

_POSITIVE = """
好 赞 棒 佳 优 快 香 美 值 爱 喜欢 满意 不错 很好 挺好 真好 蛮好 好吃 好喝 好用 好看 好评 好喜欢 美味 可口 好香 真香
超赞 点赞 完美 优秀 优质 惊喜 舒服 舒适 漂亮 精致 精细 细腻 合适 合身 新鲜 干净 卫生 及时 准时 准点 迅速 快速 快捷
很快 超快 飞快 神速 提前 方便 便捷 热情 耐心 贴心 周到 友好 礼貌 客气 专业 负责 认真 细心 真诚 靠谱 放心 安心 信赖
实惠 划算 便宜 超值 值得 物超所值 物有所值 性价比 正品 正宗 地道 足 量大 量足 分量足 份量足 实在 丰富 完好 严实 结实
牢固 耐用 稳定 顺利 推荐 回购 再来 再买 还会 还来 常来 老顾客 支持 感谢 谢谢 多谢 辛苦 给力 五星 满分 一流 顶级 高端
开心 高兴 愉快 幸福 爽 酷 喷香 鲜美 酥脆 脆 嫩 入味 爽口 合口味 热乎 热乎乎 温热 热腾腾 解馋 过瘾 百吃不厌 吃不够
大爱 最爱 超爱 爱吃 爱喝 态度好 服务好 速度快 质量好 味道好 效果好 超出预期 大方 诱人 柔软 保暖 透气 显瘦 清晰 流畅
好闻 温柔 亲切 麻利 良心 用心 赠送 送了 惊艳 出色 卓越 强 一如既往 名不虚传 不愧 没话说 没得说 没毛病 不贵 不油 不腻
不辣 不咸 不慢 没问题 不赖 不负 期待 哈哈 嘿嘿 嘻嘻 么么哒 棒棒哒 萌萌哒 亲民 良好 正好 刚好 good great excellent
amazing awesome love loved lovely loves like liked nice perfect perfectly fantastic wonderful best better fast quick
quickly prompt happy pleased satisfied recommend recommended recommends delicious tasty fresh beautiful comfortable
soft sturdy durable cute friendly helpful polite patient professional easy worth bargain cheap value superb
brilliant thanks thank gorgeous smooth reliable impressed enjoy enjoyed favourite favorite clear clearly 👍 👌 👏 ❤
♥ 💕 💖 💗 💯 😍 🥰 😘 😊 😄 😁 😀 😃 🙂 😋 🤩 🎉 🌹 💪 🙏 ⭐ ★ ✨ 😎 🥳 ☺ ^_^ :) :-) :d
无可挑剔
"""

_NEGATIVE = """
差 烂 坏 慢 贵 臭 脏 假 破 糟 晚 咸 腻 硬 酸 苦 馊 糊 生 凉 冷 少 漏 洒 撒 丑 错 坑 骗 恶 怪 油 淡 柴 焦 腥 软 稀 干
急 气 久 差评 差劲 太差 很差 极差 差远 垃圾 失望 难吃 难喝 难用 难看 难闻 难受 恶心 糟糕 糟心 恶劣 无语 无奈 无聊
坑爹 坑人 坑死 骗人 骗子 欺骗 虚假 夸大 套路 忽悠 假货 假冒 次品 劣质 瑕疵 缺陷 破损 破了 坏了 压坏 摔坏 碎了 开裂
裂开 裂 掉色 褪色 色差 起球 线头 变形 漏水 漏了 漏发 漏送 少送 少发 错发 发错 送错 做错 弄错 搞错 缺少 缺货 过期
变质 发霉 霉 异味 刺鼻 怪味 糊味 头发 虫子 虫 苍蝇 蟑螂 小强 拉肚子 腹泻 过敏 红点 红疹 刺痛 太慢 慢死 很慢 好慢
超慢 太晚 迟到 晚点 超时 拖延 拖了 拖拉 延误 耽误 催单 催 催了 等了 久等 饿死 饿 才到 才送 才来 才发 才给 取消 退货
退款 退单 退钱 退掉 投诉 举报 维权 赔偿 差价 降价 涨价 太贵 太咸 太辣 太油 太甜 太淡 太硬 太少 太小 太酸 太干 太腻
太软 凉了 冷了 冰凉 凉透 拔凉 都凉 软了 洒了 撒了 洒出 撒出 漏出 泡烂 坨了 坨 糊了 焦了 没熟 夹生 不熟 半生 油腻
肥肉 塞牙 嚼不动 咬不动 难咬 偷工减料 缩水 敷衍 推卸 推脱 互相推 不耐烦 爱答不理 不理 没人 没人理 没人管 骂人 吵 凶
粗暴 威胁 黑心 奸商 缺德 没良心 不要脸 恶心死 呵呵 唉 哎 晕 服了 醉了 醉 尼玛 特么 妈的 草 操 滚 气死 生气 气愤 愤怒
火大 郁闷 后悔 上当 受骗 浪费 白花 不值 可惜 遗憾 勉强 凑合 将就 一般 一般般 普通 马马虎虎 麻烦 问题 毛病 故障 失灵
卡顿 死机 噪音 漏电 掉了 掉 断了 断 少了 少得可怜 可怜 小得可怜 不新鲜 不干净 不卫生 不好 不好吃 不好喝 不好用 不行
不对 不准 不准时 不及时 不合适 不合理 不符 不满 不满意 不舒服 不敢 不来 不到 不足 不够 不热 不脆 不香 不入味 不正宗
不地道 不靠谱 不负责 不专业 不礼貌 不推荐 不再 不会再 再也不 再不 没有 没送 没给 没放 没收到 没到 没发 没味 没味道
没意思 没法 无法 没用 没诚意 没筷子 居然 竟然 结果 根本 明明 说好 什么玩意 太过分 过分 离谱 最差 之一 假的 差太多
落差 穿不了 用不了 打不开 联系不上 打不通 不接 没人接 挂电话 为什么 怎么 到底 难道 要求退款 请尽快 bad poor poorly
terrible awful horrible worst worse slow late delayed delay broken broke break damaged defective faulty disappointed
disappointing disappointment waste useless refund return returned rude ignored wrong missing never fake scam
expensive overpriced cheaper cold stale dirty smelly stinks smell hate hated ugly uncomfortable tight loose cheaply
crap rubbish garbage trash annoying annoyed angry unacceptable unhappy misleading lied lie cheat cheated problem
problems issue issues complaint complain complained torn leaking leaked expired rash allergic crushed unusable
nobody nothing 👎 😡 😠 🤬 😤 😞 😔 😢 😭 😩 😫 😒 🙄 🤮 🤢 💩 😣 😖 ☹ 🙁 😑 💔 :( :-( 失败 可怕 奇葩 惨 可恨 粗糙
湿了 不如 想吐 反胃 欠缺 缺了 忘了 忘记 不见了 不符合 不一致 乱七八糟 莫名其妙 难以下咽 迟迟 晚了 小气 亏
"""

_NEGATIONS = """
不 没 没有 无 未 别 非 莫 不是 不算 不太 不怎么 不够 没那么 不会 不能 not no never don't didn't isn't wasn't doesn't
won't can't couldn't wouldn't aren't weren't cannot hardly without nor neither
"""

_EMPHASIS = """
很 太 非常 特别 超 超级 极 极其 十分 真 真的 实在 最 好 挺 巨 贼 爆 绝对 完全 相当 尤其 更 越来越 那么 这么 very so
really too extremely absolutely totally super highly most completely such
"""

_FAINT = """
有点 有点儿 稍微 稍 略 略微 一点 一点点 些 还 比较 还算 slightly somewhat bit little fairly quite
"""

_TURNS = """
但是 但 可是 不过 然而 就是 只是 可惜 却 but however although though yet except
"""

# Words that hold a character of the lists above and say nothing of it.
_EXCEPTIONS = """
好像 好多 好久 好几 只好 还好 最好 幸好 不好意思 好歹 恰好 爱好 好友 好在 生菜 生日 先生 学生 生活 花生 生意 生煎
医生 服务生 少年 多少 至少 不少 减少 少爷 凉皮 凉菜 凉面 凉拌 冷面 冷饮 冷天 天冷 天凉 大冷天 干锅 饼干 豆干 干嘛
酸辣 酸菜 酸奶 酸梅 苦瓜 油条 酱油 加油 油菜 奶油 黄油 油麦菜 辣油 快递 快餐 外快 快要 快点 赶快 尽快 快乐 凉快 牛肉
牛奶 牛腩 肥牛 牛排 牛 坚强 强烈 值班 价值 香菜 香肠 香菇 香蕉 香草 香港 香锅 五香 美国 美团 优惠 优惠券 天气 气氛
人气 空气 着急 紧急 错过 破费 早晚 晚上 晚餐 晚饭 今晚 每晚 当晚 晚安 软糖 稀饭 怪不得 难怪 难得 奇怪 生鲜 生产 发生
卫生纸 足球 手足 脆皮 嫩豆腐 急着 硬盘 硬件
"""

# Words that name no theme.
_STOP = """
的 了 是 我 你 他 她 它 们 我们 你们 他们 在 有 和 与 也 都 就 还 又 这 那 这个 那个 这家 一个 一次 一下 一直 一点
两个 上 下 里 到 去 来 说 要 会 能 可以 给 让 被 把 对 从 用 为 而 及 或 但 但是 不过 可是 如果 因为 所以 就是 还是
还有 只是 什么 怎么 为什么 哪 谁 几 多 个 次 家 店 吧 啊 呢 吗 哦 呀 哈 嘛 啦 哎 自己 现在 时候 今天 昨天 每次 这次
上次 感觉 觉得 知道 看 看到 想 真 真的 很 太 非常 特别 比较 有点 最 更 再 已经 才 刚 着 过 得 地 之 其 等 点 那么
这么 这样 那样 没 没有 不 不是 然后 而且 东西 后 前 时 中 大 小 人 以后 以前 之后 之前 直接 起来 出来 过来 里面 一样
一起 本来 其实 应该 需要 希望 请 吃 喝 买 点了 商家 元 块 钱 请问 电话 链接 号码 地址 姓名 邮箱 账号 the a an and or
of to in on for with is are was were be been it its this that i me my we our you your he she they them at as so if
by from had has have do did does just but not no all very too when then than what which who will would can could up
out there here one two only also again about after before because into over more most phone number address name
account link mail 不会 尽快 要求 说好 根本 完全 居然 竟然 结果 明明
"""

POSITIVE = frozenset(_POSITIVE.split())
NEGATIVE = frozenset(_NEGATIVE.split())
NEGATIONS = frozenset(_NEGATIONS.split())
EMPHASIS = frozenset(_EMPHASIS.split())
FAINT = frozenset(_FAINT.split())
TURNS = frozenset(_TURNS.split())
EXCEPTIONS = frozenset(_EXCEPTIONS.split())
STOP = frozenset(_STOP.split())
