"""What an audit found, as data, and its sentences in English and Chinese.

Who runs it: the auditor's verifier; pages and reports print what it returns.
Learns: names of logs, positions and causes; never a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

LANGUAGES = ("en", "zh")


class Severity(IntEnum):
    """In the order of the exit codes that they lead to."""

    BROKEN = 1  # tampering or a broken rule
    INCOMPLETE = 3  # nothing wrong seen, but evidence is missing


@dataclass(frozen=True)
class Finding:
    """code: of `SENTENCES`.  values: what its sentence names."""

    code: str
    log: str = ""
    values: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        return SENTENCES[self.code].severity

    def sentence(self, language: str) -> str:
        words = SENTENCES[self.code].in_language(language).format_map(dict(self.values))
        between = "：" if language == "zh" else ": "
        return f"{self.log}{between}{words}" if self.log else words

    def to_dict(self) -> dict[str, object]:
        return {
            "code": self.code,
            "severity": self.severity.name.lower(),
            "log": self.log,
            "values": dict(self.values),
            **{language: self.sentence(language) for language in LANGUAGES},
        }


@dataclass(frozen=True)
class Words:
    """A kind of finding.  The Chinese sentence leaves out `cause`, which is English."""

    severity: Severity
    en: str
    zh: str

    def in_language(self, language: str) -> str:
        return {"en": self.en, "zh": self.zh}[language]


_B, _I = Severity.BROKEN, Severity.INCOMPLETE
SENTENCES: Mapping[str, Words] = {
    "file_altered": Words(
        _B,
        "the file was changed after its export: its lines do not give the digest at its end",
        "文件在导出之后被改动：各行内容与文件末尾的摘要不符",
    ),
    "file_cut": Words(
        _B,
        "the file has no valid last line: it was cut off or changed",
        "文件没有有效的末行：被截断或被改动",
    ),
    "bad_line": Words(
        _B,
        "line {line} is not a line of a bundle ({cause})",
        "第 {line} 行不是证据包的有效行",
    ),
    "log_twice": Words(_B, "the log is in the bundle twice", "该日志在证据包中出现两次"),
    "bad_checkpoint": Words(
        _B,
        "the checkpoint in line {line} is not valid: {cause}",
        "第 {line} 行的检查点无效",
    ),
    "cosignature_misnamed": Words(
        _B,
        "the checkpoint in line {line} has the cosignature of {witness} under another name",
        "第 {line} 行的检查点中，{witness} 的见证签名被改到了别的名称之下",
    ),
    "checkpoint_order": Words(
        _B,
        "the checkpoint of size {size} stands after {entries} entries",
        "大小为 {size} 的检查点出现在第 {entries} 条记录之后",
    ),
    "root_differs": Words(
        _B,
        "entries {first} to {last} are not those that were signed: "
        "the tree of size {size} has another root",
        "第 {first} 至 {last} 条记录与签名时不同：大小为 {size} 的树根不符",
    ),
    "bad_leaf": Words(_B, "entry {index} is malformed: {cause}", "第 {index} 条记录格式错误"),
    "bad_opening": Words(
        _B,
        "the content of entry {index} is not what was logged: {cause}",
        "第 {index} 条记录的内容与入账时不同",
    ),
    "opening_unclaimed": Words(
        _B,
        "entry {index} of {party} is opened, which this bundle does not claim to do",
        "{party} 的第 {index} 条记录附有内容，但证据包并未声明包含该方内容",
    ),
    "time_backwards": Words(
        _B,
        "entry {index} is dated before the entry above it",
        "第 {index} 条记录的时间早于前一条",
    ),
    "witness_backwards": Words(
        _B,
        "witness {witness} saw size {size} before a smaller tree that it saw later",
        "见证者 {witness} 看到大小 {size} 的时间早于较小的树",
    ),
    "kept_differs": Words(
        _B,
        "the tree of size {size} is not the one that the auditor kept: the log told two stories",
        "大小为 {size} 的树与审计方留存的不同：该日志对不同人给出了不同内容",
    ),
    "bad_record": Words(
        _B,
        "entry {index} is no consent record of this version: {cause}",
        "第 {index} 条记录不是本版本的同意记录",
    ),
    "illegal_transition": Words(
        _B,
        "entry {index} says {after} where the same person had said {before}: that cannot be",
        "第 {index} 条记录把同一人的状态由 {before} 变为 {after}，这不可能成立",
    ),
    "bad_statement": Words(
        _B,
        "entry {index} is no statement about a job that its party has signed: {cause}",
        "第 {index} 条记录不是由该参与方签名的任务声明",
    ),
    "statement_twice": Words(
        _B,
        "entry {index}: {party} says a second time, in other words, how job {job} began or ended",
        "第 {index} 条记录：{party} 对任务 {job} 的开始或结束作了第二次不同的声明",
    ),
    "closed_unadmitted": Words(
        _B,
        "entry {index}: {party} closed job {job}, which it never said it had admitted",
        "第 {index} 条记录：{party} 结束了任务 {job}，却从未声明准入",
    ),
    "job_hash_differs": Words(
        _B,
        "entry {index}: {party} saw another job {job} than {other}",
        "第 {index} 条记录：任务 {job} 在 {party} 与 {other} 处并不相同",
    ),
    "terms_differ": Words(
        _B,
        "entry {index}: {party} admitted job {job} on another {term} than {other}",
        "第 {index} 条记录：{party} 与 {other} 准入任务 {job} 时的约定（{term}）不同",
    ),
    "eligible_set_differs": Words(
        _B,
        "entry {index}: {party} closed job {job} on other rows than it had admitted",
        "第 {index} 条记录：{party} 结束任务 {job} 时的数据行与准入时不同",
    ),
    "stale_admission": Words(
        _B,
        "entry {index}: {party} admitted job {job} on consents that witnesses had seen "
        "{age} s before; its window is {window} s",
        "第 {index} 条记录：{party} 准入任务 {job} 所依据的同意记录已有 {age} 秒，"
        "超出 {window} 秒的时限",
    ),
    "consent_head_differs": Words(
        _B,
        "entry {index}: {party} admitted job {job} on a consent log of size {size} that is not "
        "the one in the bundle",
        "第 {index} 条记录：{party} 准入任务 {job} 所依据的同意日志（大小 {size}）与证据包不符",
    ),
    "quorum_overstated": Words(
        _B,
        "entry {index}: {party} says that witnesses had seen its consent log {ahead} s later than "
        "any quorum did, when it admitted job {job}",
        "第 {index} 条记录：{party} 准入任务 {job} 时所称的见证时间，比实际的法定见证晚 {ahead} 秒",
    ),
    "late_release": Words(
        _B,
        "entry {index}: {party} opened the result of job {job} without having looked at consents "
        "within the {window} s before",
        "第 {index} 条记录：{party} 在打开任务 {job} 的结果之前 {window} 秒内没有复核同意记录",
    ),
    "stage_before_admission": Words(
        _B,
        "entry {index}: {party} did stage {stage} of job {job} before it had admitted it",
        "第 {index} 条记录：{party} 在准入之前就执行了任务 {job} 的 {stage} 阶段",
    ),
    "budget_overspent": Words(
        _B,
        "entry {index}: {party} admitted job {job} for more budget than it had left",
        "第 {index} 条记录：{party} 准入任务 {job} 所需预算超过余额",
    ),
    "logged_late": Words(
        _I,
        "entry {index}: {party} admitted job {job} {late} s before it is in the log",
        "第 {index} 条记录：{party} 准入任务 {job} 之后 {late} 秒才入账",
    ),
    "never_closed": Words(
        _I,
        "{party} admitted job {job} and never said how it ended",
        "{party} 准入了任务 {job}，但没有声明其结果",
    ),
    "admission_missing": Words(
        _I,
        "{party} took part in job {job}, which was released, and has not said that it admitted it",
        "任务 {job} 已发布结果，但参与方 {party} 没有准入声明",
    ),
    "bad_erasure": Words(
        _B,
        "erasure entry {index} lists entries that cannot be erased",
        "第 {index} 条删除记录列出了不能删除的条目",
    ),
    "erased_present": Words(
        _B,
        "entry {index} is listed as erased, but its content is still there",
        "第 {index} 条记录已登记为删除，但内容仍然存在",
    ),
    "head_differs": Words(
        _B,
        "the head of size {size} in the database is not that of its entries",
        "数据库中大小为 {size} 的树头与记录不符",
    ),
    "entry_beyond": Words(
        _B,
        "entry {index} is in the database beyond its head",
        "数据库中第 {index} 条记录超出树头",
    ),
    "tile_differs": Words(_B, "tile {tile} is not made of the entries", "哈希块 {tile} 与记录不符"),
    "database_broken": Words(_B, "the database {name} is damaged: {cause}", "数据库 {name} 已损坏"),
    "opening_misfiled": Words(
        _B,
        "the content of entry {index} is filed under another id or pseudonym than its own",
        "第 {index} 条记录的内容登记在错误的编号或假名下",
    ),
    "opening_missing": Words(
        _I,
        "the content of entry {index} is missing and not listed as erased",
        "第 {index} 条记录缺少内容，且没有登记为删除",
    ),
    "no_checkpoint": Words(_I, "the log has no valid checkpoint", "该日志没有有效的检查点"),
    "uncovered": Words(
        _I,
        "entries from {first} on are under no checkpoint",
        "第 {first} 条起的记录没有检查点覆盖",
    ),
    "quorum_missing": Words(
        _I,
        "the newest checkpoint, of size {size}, lacks the quorum of witnesses",
        "最新检查点（大小 {size}）缺少法定数量的见证签名",
    ),
    "kept_ahead": Words(
        _I,
        "the auditor kept a tree of size {kept}, the bundle ends at {size}: "
        "it is old, or the log was rolled back",
        "审计方留存的树大小为 {kept}，证据包止于 {size}：证据包过旧，或日志被回退",
    ),
    "log_missing": Words(
        _I,
        "the auditor kept a checkpoint of this log, but the bundle does not have it",
        "审计方留存了该日志的检查点，但证据包中没有该日志",
    ),
    "bad_migration": Words(
        _B,
        "entry {index} does not say rightly which log this one replaces: {cause}",
        "第 {index} 条记录没有正确说明本日志所替代的日志",
    ),
    "replaced_unknown": Words(
        _I,
        "entry {index} says that this log replaces {replaced}, which is not in the policy",
        "第 {index} 条记录称本日志替代了 {replaced}，但策略中没有该日志",
    ),
    "replaced_behind": Words(
        _I,
        "the log was replaced after {size} entries, the auditor kept a tree of size {kept}: "
        "the entries between are lost",
        "该日志在第 {size} 条之后被替代，而审计方留存的树大小为 {kept}：其间的记录已丢失",
    ),
    "more": Words(_B, "{count} more findings of kind {kind}", "另有 {count} 项同类问题（{kind}）"),
    "more_missing": Words(
        _I,
        "{count} more findings of kind {kind}",
        "另有 {count} 项同类问题（{kind}）",
    ),
}
