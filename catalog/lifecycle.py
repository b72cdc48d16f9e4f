"""Lifecycle stages: the words of AIPL and of the five stages, in both languages.

Who runs it: whoever reads a file of tags.  Learns: nobody, anything.
protocols.md section 4: the stage is each party's own; how it is seen over time is in docs/TAGS.md.
"""

from __future__ import annotations

# (word, zh, en).  AIPL, the highest first: a person is at the highest whose rule holds.
AIPL = (
    ("loyal", "忠诚", "Loyal"),
    ("purchase", "购买", "Purchase"),
    ("interest", "兴趣", "Interest"),
    ("aware", "认知", "Aware"),
)
NO_STAGE = ("none", "尚无阶段", "No stage")

# By how often something happened in the last period and in the one before.
FIVE = (
    ("new", "新客", "New"),
    ("growing", "成长", "Growing"),
    ("mature", "成熟", "Mature"),
    ("declining", "衰退", "Declining"),
    ("lost", "流失", "Lost"),
)
