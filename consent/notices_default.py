"""The built-in notice, in Chinese and English: one plain sentence per purpose.

Who runs it: the portal and every node of a party that has no notices of its own.
A text here that was ever released never changes; a better one is a new version below it.
"""

from __future__ import annotations

NOTICES = {
    "notices": {
        "consent": [
            {
                "version": 1,
                "class": "material",
                "text": {
                    "zh-CN": (
                        "这里列出的每一项都由您决定，全部默认关闭。您可以随时关闭任何一项，"
                        "关闭和打开一样容易，也不影响您使用我们的服务。\n"
                        "我们与所列公司合作计算时，任何一方都看不到对方的客户名单和个人资料；"
                        "离开系统的只有人数足够多的群体的汇总数字。\n"
                        "您的每一次选择都会记录在无法被悄悄修改的账本里，您可以下载凭证自行核对。"
                    ),
                    "en": (
                        "Each item here is yours to decide, and all of them are off until you "
                        "turn them on. You can turn any of them off at any time, as easily as "
                        "on, and without losing our service.\n"
                        "When we compute together with the companies named, neither side sees "
                        "the other's customers or what it knows about a person; only totals "
                        "over groups that are large enough leave the system.\n"
                        "Every choice is written into a ledger that nobody can change unseen, "
                        "and you can download a receipt to check it yourself."
                    ),
                },
                "purposes": {
                    "overlap_measurement": {
                        "zh-CN": "统计我们与该公司共有多少位客户，只得到一个数字。",
                        "en": "Count how many customers we and that company have in common: one "
                        "number.",
                    },
                    "audience_insight": {
                        "zh-CN": "了解共同客户群体的总体特点，例如某类兴趣的人有多少，"
                        "不涉及单个人。",
                        "en": "Learn what groups of shared customers are like, for example how "
                        "many have a certain interest; never about one person.",
                    },
                    "segmentation": {
                        "zh-CN": "把相似的客户分成几组，用于改进商品和服务；"
                        "您属于哪一组只有我们自己知道。",
                        "en": "Sort similar customers into groups to improve products and "
                        "services; only we know which group you are in.",
                    },
                    "lookalike_modelling": {
                        "zh-CN": "用共同客户的汇总规律，找出可能有相似需求的人群。",
                        "en": "Use patterns of shared customers as a whole to find people who may "
                        "need similar things.",
                    },
                    "activation": {
                        "zh-CN": "让该公司把您列入某次活动或广告的对象，向您展示相关内容。",
                        "en": "Let that company include you in the audience of a campaign and show "
                        "you something related.",
                    },
                    "personalisation": {
                        "zh-CN": "根据双方的资料，为您调整看到的内容和优惠。",
                        "en": "Adapt what you see and are offered, using what both sides know.",
                    },
                },
            }
        ]
    }
}
