"""What rules see, and what a report says in two languages."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable

import pytest

from consent.audit import audit_bundle
from consent.findings import SENTENCES, Finding, Severity
from consent.leaf import Leaf, read_body
from consent.policy import CheckedCheckpoint
from tests.consent import logs
from tests.consent.test_audit import POLICY, audit, changed, story


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return logs.exported(story(tmp_path_factory.mktemp("told") / "log").source())


class NoRefusals:
    """A rule of a later slice, in miniature."""

    def __init__(self) -> None:
        self.seen = 0
        self.sizes: list[int] = []

    def see(self, log: str, index: int, leaf: Leaf, body: bytes | None) -> Iterable[Finding]:
        self.seen += 1
        said = read_body(body) if body else {}
        if said.get("state") == "given" and said.get("who") == "张三":
            yield Finding("bad_leaf", log, {"index": index, "cause": "a rule"})

    def checkpoint(self, log: str, checked: CheckedCheckpoint) -> Iterable[Finding]:
        self.sizes.append(checked.checkpoint.size)
        return []

    def finish(self) -> Iterable[Finding]:
        return [Finding("log_missing", "z")]


def test_rules_see_every_entry(bundle: bytes) -> None:
    rule = NoRefusals()
    report = audit_bundle(logs.lines(bundle), POLICY, rules=[rule])
    assert (rule.seen, rule.sizes) == (6, [0, 3, 4, 5, 6])
    assert [(one.code, one.values.get("index")) for one in report.findings] == [
        ("bad_leaf", 5),
        ("log_missing", None),
    ]


def names(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


@pytest.mark.parametrize("code", SENTENCES)
def test_every_finding_has_its_sentence_in_both_languages(code: str) -> None:
    words = SENTENCES[code]
    assert names(words.en) - {"cause"} == names(words.zh)
    assert any("一" <= char <= "鿿" for char in words.zh)
    finding = Finding(code, "log", dict.fromkeys(names(words.en), 7))
    assert finding.sentence("en").startswith("log: ")
    assert finding.sentence("zh").startswith("log：")
    assert finding.severity in Severity


def test_the_report_in_words_and_json(bundle: bytes) -> None:
    good, bad = audit(bundle), audit(changed(bundle, b'who\\":\\"a-2', b'who\\":\\"b-2'))
    assert good.to_text("en").startswith("Verified")
    assert good.to_text("zh").startswith("验证通过")
    assert "6 entries" in good.to_text("en")
    assert "content of entry 2" in bad.to_text("en")
    assert "第 2 条记录的内容" in bad.to_text("zh")
    said = json.loads(json.dumps(bad.to_dict()))
    assert said["exit_code"] == 1
    assert said["findings"][0]["code"] == "bad_opening"
    assert said["findings"][0]["values"]["index"] == 2
    assert said["logs"][0]["size"] == 6
