"""What an audit says in the end: per log what was there, and every finding, in two languages.

Who runs it: the auditor's verifier makes it; commands and pages print it.
Learns: names of logs, counts and causes; never a body.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.findings import LANGUAGES, Finding


@dataclass(frozen=True)
class LogSummary:
    """closed: entries of parties whose openings the bundle does not have.

    quorum_time: POSIX seconds, when a quorum had seen the newest checkpoint.
    """

    origin: str
    size: int
    root: str
    checkpoints: int
    opened: int
    erased: int
    closed: int
    quorum_time: int | None


@dataclass(frozen=True)
class Report:
    findings: tuple[Finding, ...]
    logs: tuple[LogSummary, ...]

    @property
    def exit_code(self) -> int:
        """0 verified, 1 tampering or a broken rule, 3 incomplete evidence."""
        return min((int(one.severity) for one in self.findings), default=0)

    @property
    def closed(self) -> int:
        """Entries that are in their place and of whose content this audit can say nothing."""
        return sum(log.closed for log in self.logs)

    def to_dict(self) -> dict[str, object]:
        return {
            "exit_code": self.exit_code,
            "closed": self.closed,
            "logs": [vars(log) for log in self.logs],
            "findings": [one.to_dict() for one in self.findings],
        }

    def verdict(self, language: str) -> str:
        return _VERDICTS[self.exit_code][LANGUAGES.index(language)]

    def to_text(self, language: str) -> str:
        lines = [self.verdict(language)]
        if self.closed:
            lines.append(_CLOSED[language].format(count=self.closed))
        lines += [_LOG_WORDS[language].format_map(vars(log)) for log in self.logs]
        lines += [one.sentence(language) for one in self.findings]
        return "\n".join([*lines, ""])


_VERDICTS = {
    0: ("Verified: nothing was changed, nothing is missing.", "验证通过：没有改动，没有缺失。"),
    1: ("NOT verified: tampering or a broken rule.", "验证不通过：发现篡改或违反规则。"),
    3: (
        "Incomplete: what is here is genuine, but evidence is missing.",
        "证据不完整：现有内容属实，但有缺失。",
    ),
}
_CLOSED = {
    "en": "{count} entries of other parties are in their place, but closed: of what they say "
    "this audit knows nothing.",
    "zh": "另有 {count} 条其他参与方的记录在其位置上，但未公开内容：本次审计不涉及其内容。",
}
_LOG_WORDS = {
    "en": "{origin}: {size} entries, {checkpoints} checkpoints, {opened} opened, {erased} erased, "
    "{closed} closed, root {root}",
    "zh": "{origin}：{size} 条记录，{checkpoints} 个检查点，{opened} 条可核对内容，"
    "{erased} 条已删除，{closed} 条未公开，树根 {root}",
}
