"""The words of the party console, in English and Chinese; a test holds both complete.

Who runs it: the console.  Learns: nobody.
"""

from __future__ import annotations

LANGUAGES = {"en": "English", "zh": "中文"}

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Console of {party}", "{party} 控制台"),
    "log": ("Consent log", "同意日志"),
    "log_name": ("Name", "名称"),
    "log_size": ("Entries verified by this node", "本节点已核验的条目"),
    "log_age": ("Last seen by a quorum of witnesses", "法定见证者最近确认"),
    "seconds_ago": ("{seconds} s ago", "{seconds} 秒前"),
    "never": ("never", "从未"),
    "log_good": ("Jobs may be admitted.", "可以准入任务。"),
    "log_bad": ("No job is admitted: {cause}", "当前不准入任何任务：{cause}"),
    "evidence": (
        "Contradictions that the log has signed, kept as evidence: {count}",
        "日志自相矛盾的签名（已留作证据）：{count}",
    ),
    "jobs": ("Jobs", "任务登记"),
    "job": ("Job", "任务"),
    "requester": ("Asked by", "请求方"),
    "what": ("What it asks", "请求内容"),
    "state": ("State", "状态"),
    "since": ("Since (UTC)", "开始时间（UTC）"),
    "no_jobs": ("No job yet.", "还没有任务。"),
    "releases": ("Statements in the job log", "任务日志中的声明"),
    "statement": ("Statement", "声明"),
    "purpose": ("Purpose", "目的"),
    "recipient": ("Recipient", "接收方"),
    "rows": ("Eligible rows", "可用数据行"),
    "outcome": ("Outcome", "结果"),
    "place": ("Place in the log", "日志位置"),
    "waiting": ("waits for the ledger", "等待入账"),
    "no_releases": ("Nothing stated yet.", "还没有声明。"),
    "verify": ("Verify the logs now", "立即核验日志"),
    "verify_what": (
        "Fetches this company's log and the job log and audits them as an auditor does: every "
        "entry, every signature, every job.",
        "取回本公司的日志与任务日志，像审计方一样核验：每一条记录、每一个签名、每一个任务。",
    ),
    "verified_at": ("Result of {time}", "{time} 的结果"),
    "back": ("Back to the console", "返回控制台"),
    "closed": (
        "This address is not enough. Run `assent node console` and open what it prints.",
        "仅有地址还不够。请运行 `assent node console` 并打开它给出的链接。",
    ),
    "failed": ("The audit could not be run: {cause}", "无法完成核验：{cause}"),
    "job.admitted": ("admitted", "准入"),
    "job.closed": ("closed", "结束"),
    "job.refused": ("refused", "拒绝"),
    "released": ("released", "已发布"),
    "refused": ("refused", "已拒绝"),
    "running": ("running", "进行中"),
    "waiting for approval": ("waiting for approval", "等待批准"),
    "cancelled": ("cancelled", "已取消"),
}
# Apart because the same word is a state of a job.
WORDS["state_failed"] = ("failed", "失败")


def say(language: str, key: str, **values: object) -> str:
    """The words for `key`; a word that is none of ours, such as a state, comes as it is."""
    if key not in WORDS:
        return key
    return WORDS[key][list(LANGUAGES).index(language)].format(**values)
