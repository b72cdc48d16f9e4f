"""Every definition as one sentence, in Chinese and in English.

Who runs it: `assent tags show`, a node's pages.  The sentence is made from the terms, so it
cannot say something else than the rule does.  Learns: nobody, anything.
"""

from __future__ import annotations

from dataclasses import replace

from catalog.tag_terms import (
    Compare,
    Condition,
    Filter,
    Measure,
    Span,
    Test,
    Tiers,
    number_text,
    written,
)
from catalog.tags import BANDS, REPLACED, RULES, Tag, TagSet

_UNITS = {"hour": "小时", "day": "天", "week": "周"}
_CLASSES = {"static": "静态", "behaviour": "行为", "preference": "偏好", "value": "价值"}
_ASPECTS = {
    "who": ("是谁", "who people are"),
    "did": ("做过什么", "what people did"),
    "will": ("将会做什么", "what people will do"),
    "should": ("该为其做什么", "what should be done for people"),
}
_REFRESHES = {"once": "一次", "hourly": "每小时", "daily": "每天", "weekly": "每周",
              "monthly": "每月"}  # fmt: skip
_TESTS = {
    "at_least": ("不低于 {}", "is at least {}"),
    "above": ("高于 {}", "is above {}"),
    "at_most": ("不高于 {}", "is at most {}"),
    "below": ("低于 {}", "is below {}"),
    "is": ("是 {}", "is {}"),
    "in": ("是 {} 之一", "is one of {}"),
}
_MEASURES = {
    "count": ("{} 的次数", "the number of {} events"),
    "days": ("有 {} 的天数", "the number of days with {}"),
    "sum": ("{} 的总和", "the sum of {}"),
    "avg": ("{} 的平均值", "the average of {}"),
    "min": ("{} 的最小值", "the smallest {}"),
    "max": ("{} 的最大值", "the largest {}"),
    "top": ("最常见的 {}", "the most frequent {}"),
}


def sentence(tags: TagSet, name: str, language: str) -> str:
    """language: zh or en."""
    zh = language == "zh"
    tag = tags.tags[name]
    title = tag.title.of(language)
    if tag.form == REPLACED:
        other = tags.now(name).title.of(language)
        return f"“{title}”已由“{other}”取代。" if zh else f"“{title}” is replaced by “{other}”."
    if zh:
        aspect = _ASPECTS[tag.aspect][0]
        about = (
            f"“{title}”（{_CLASSES[tag.kind]}标签，说明人{aspect}，{_REFRESHES[tag.refresh]}更新）"
        )
        return f"{about}：{_rule(tags, tag, language)}。"
    about = f"“{title}” (a {tag.kind} tag: {_ASPECTS[tag.aspect][1]}; refreshed {tag.refresh})"
    return f"{about}: {_rule(tags, tag, language)}."


def _rule(tags: TagSet, tag: Tag, language: str) -> str:
    zh = language == "zh"
    if tag.form == RULES:
        return _values(tags, tag, language)
    assert tag.measure is not None
    what = measure(tags, tag.measure, language)
    if tag.form == BANDS:
        said = [_band(tag, i, language) for i in range(len(tag.bands))]
        rest = _quoted(tag.unknown or "unknown")
        end = f"；没有该值则为{rest}" if zh else f"; {rest} without one"
        return ("按" if zh else "by ") + what + ("：" if zh else ": ") + _list(said, zh) + end
    if tag.mapping is None:
        return f"取{what}" if zh else f"{what}"
    return f"取{what}，按映射 {tag.mapping} 换词" if zh else f"{what}, in words of {tag.mapping}"


def _values(tags: TagSet, tag: Tag, language: str) -> str:
    zh = language == "zh"
    said = []
    for i, value in enumerate(tag.values):
        name = _quoted(value.called(language))
        if value.when is None:
            said.append(f"否则为{name}" if zh else f"otherwise {name}")
            continue
        when = condition(tags, value.when, language)
        if zh:
            said.append(f"{'若' if i == 0 else '否则若'}{when}，则为{name}")
        else:
            said.append(f"{'' if i == 0 else 'otherwise '}{name} if {when}")
    return ("；" if zh else "; ").join(said)


def _band(tag: Tag, i: int, language: str) -> str:
    band, name = tag.bands[i], _quoted(tag.values[i].called(language))
    low = None if band.low is None else number_text(band.low)
    high = None if band.high is None else number_text(band.high)
    if language == "zh":
        ends = [
            f"不低于 {low}" if low is not None else "",
            f"低于 {high}" if high is not None else "",
        ]
        return f"{'且'.join(e for e in ends if e) or '任何数'}为{name}"
    ends = [f"from {low}" if low is not None else "", f"below {high}" if high is not None else ""]
    return f"{name} {' '.join(e for e in ends if e) or 'for every number'}"


def condition(tags: TagSet, term: Condition, language: str, *, inner: bool = False) -> str:
    """A condition in words; brackets where one joins others."""
    zh = language == "zh"
    if isinstance(term, Compare):
        return _compare(tags, term, language)
    parts = [condition(tags, part, language, inner=True) for part in term.parts]
    if term.how == "not":
        return f"并非（{parts[0]}）" if zh else f"it is not so that ({parts[0]})"
    word = {"all": ("且", " and "), "any": ("或", " or ")}[term.how][0 if zh else 1]
    said = word.join(parts)
    if not inner or len(parts) == 1:
        return said
    return f"（{said}）" if zh else f"({said})"


def _compare(tags: TagSet, term: Compare, language: str) -> str:
    what = measure(tags, term.measure, language)
    space = " " if language == "en" else ""
    said = [_test(test, language) for test in term.tests]
    return what + space + ("且" if language == "zh" else " and ").join(said)


def _test(test: Test, language: str) -> str:
    zh = language == "zh"
    if test.op == "known":
        return (("已知" if test.value else "未知") if zh
                else ("is known" if test.value else "is not known"))  # fmt: skip
    return _TESTS[test.op][0 if zh else 1].format(_operand(test, zh))


def _operand(test: Test, zh: bool) -> str:
    if isinstance(test.value, tuple):
        return _list([_quoted(word) for word in test.value], zh)
    return _quoted(test.value) if isinstance(test.value, str) else str(written(test.value))


def measure(tags: TagSet, term: Measure, language: str) -> str:
    """A measure in words, with its window and filter."""
    zh = language == "zh"
    of = term.of[0]
    if term.how == "attribute":
        return f"属性 {of} " if zh else f"the attribute {of}"
    if term.how == "tag":
        return _tag(term, tags.now(of).title.of(language), zh)
    if term.how == "model":
        model, column = term.model, term.of[1]
        return f"模型 {model}（作业 {of}）的 {column} " if zh else f"{column} of {model} job {of}"
    if term.how == "sequence":
        steps = (" → ").join(term.of)
        said = (
            f"依次发生 {steps} 的次数" if zh else f"the number of times {steps} happened in order"
        )
        if term.span is not None:
            said += f"（首尾不超过{_span(term.span, zh)}）" if zh else f" within {term.span}"
    elif term.how in ("first", "last"):
        said = _ends(term, zh)
    elif term.how == "lifecycle":
        return _lifecycle(term, language)
    elif term.how == "tier":
        how = replace(term, how="sum" if term.field else "count", tiers=None)
        assert term.tiers is not None
        return _tiers(term.tiers, measure(tags, how, language), zh)
    else:
        said = _MEASURES[term.how][0 if zh else 1].format(of)
    return _window(term, zh) + said + _where(term.where, language) if zh else (
        said + _where(term.where, language) + _window(term, zh)
    )  # fmt: skip


def _tag(term: Measure, title: str, zh: bool) -> str:
    if term.ending is None:
        return f"标签“{title}”" if zh else f"the tag “{title}”"
    if zh:
        return f"{_span(term.ending, zh)}前的标签“{title}”".strip()
    return f"the tag “{title}” as it was {term.ending} ago"


def _lifecycle(term: Measure, language: str) -> str:
    zh = language == "zh"
    assert term.within is not None
    what = f"{term.event}{_where(term.where, language)}"
    if zh:
        end = "" if term.ending is None else f"，截至{_span(term.ending, zh)}前"
        return f"{what} 的生命周期阶段（最近{_span(term.within, zh)}与此前同样长的一段相比{end}）"
    end = "" if term.ending is None else f", up to {term.ending} ago"
    return f"the lifecycle stage by {what} (the last {term.within} against those before{end})"


def _tiers(tiers: Tiers, what: str, zh: bool) -> str:
    said = []
    for level in tiers.levels:
        if level.at is None or level.keep is None:
            continue
        at, keep = number_text(level.at), number_text(level.keep)
        if zh:
            grace = "" if level.grace is None else f"，宽限{_span(level.grace, zh)}"
            said.append(f"{_quoted(level.value)}达到 {at} 升级，保持 {keep}{grace}")
        else:
            grace = "" if level.grace is None else f", {level.grace} of grace"
            said.append(f"{_quoted(level.value)} at {at}, kept from {keep}{grace}")
    lowest, since = _quoted(tiers.levels[0].value), tiers.since.removesuffix("T00:00:00")
    if zh:
        down = "逐级" if tiers.downgrade == "one" else "按现有水平"
        return (
            f"{what}的会员等级（自 {since} 起每{_span(tiers.review, zh)}评定一次，从{lowest}开始："
            f"{'；'.join(said)}；{down}降级）"
        )
    down = "one level at a time" if tiers.downgrade == "one" else "to the level earned"
    return (
        f"the membership tier by {what} (reviewed every {tiers.review} from {since} on, starting "
        f"at {lowest}; {'; '.join(said)}; down {down})"
    )


def _ends(term: Measure, zh: bool) -> str:
    word = {"first": ("首次", "first"), "last": ("最近一次", "last")}[term.how][0 if zh else 1]
    if term.field:
        return (
            f"{word} {term.event} 的 {term.field}"
            if zh
            else f"{term.field} of the {word} {term.event}"
        )
    return f"距{word} {term.event} 的天数" if zh else f"the days since the {word} {term.event}"


def _window(term: Measure, zh: bool) -> str:
    if term.within is None and term.ending is None:
        return ""
    if zh:
        end = "" if term.ending is None else f"截至{_span(term.ending, zh)}前的"
        return f"{end}{'' if term.within is None else f'最近{_span(term.within, zh)}内'} "
    said = "" if term.within is None else f" in the last {term.within}"
    return said if term.ending is None else f"{said} up to {term.ending} ago"


def _where(filters: tuple[Filter, ...], language: str) -> str:
    zh = language == "zh"
    if not filters:
        return ""
    said = [
        f"{item.field}{'' if zh else ' '}{_test(test, language)}"
        for item in filters
        for test in item.tests
    ]
    return f"（其中 {'且'.join(said)}）" if zh else f" (only where {' and '.join(said)})"


def _span(span: Span, zh: bool) -> str:
    return f" {span.number} {_UNITS[span.unit]}" if zh else str(span)


def _quoted(word: str) -> str:
    return f"“{word}”"


def _list(words: list[str], zh: bool) -> str:
    return ("、" if zh else ", ").join(words)
