"""报告中各种拒绝与失败原因的中文说明 (why jobs end, in Chinese, by the code of the error).

Who runs it: the report.  An error's own sentence is English and names the place; the report
shows it as well.  Learns: nobody, anything.
"""

from __future__ import annotations

ERRORS = {
    # refused
    "requester_not_allowed": "该公司的策略不接受这个发起方的任务。",
    "purpose_not_allowed": "该公司的策略不允许这一用途。",
    "noise_required": "该公司的策略要求结果必须带噪声。",
    "reveal_not_allowed": "该公司的策略或此用途不允许各方得知哪些行是共同客户。",
    "approval_expired": "在期限内没有人批准该任务。",
    "approval_refused": "数据的主人拒绝了该任务。",
    "budget_exhausted": "该公司给这一接收方和用途的隐私预算不足。",
    "budget_too_small": "任务的隐私预算太小，不足以得到有意义的结果。",
    "below_min_cohort": "人数低于各方允许的最小人群。",
    "exact_difference": "不加噪声时，本次与此前某次精确结果只相差少数几个人。",
    "too_few_seeds": "可以参与的种子客户太少。",
    "tag_not_granted": "标签的主人没有授权该公司为此用途使用该标签。",
    "unknown_attribute": "任务提到的属性或标识，该公司没有或类型不符。",
    "unfit_column": "某一列的类型或取值范围不适合该任务。",
    "consent_changed": "任务进行期间有人撤回了授权。",
    "consent_stale": "距上次核对授权的时间过长，因此没有打开结果。",
    "consent_behind": "授权记录的副本不是最新的。",
    "consent_inconsistent": "授权日志前后矛盾，已留存证据。",
    "consent_checkpoint": "授权日志的检查点签名不符合要求。",
    "consent_clock": "该公司计算机的时钟落后于见证者的时钟。",
    "witness_quorum_missing": "看到最新授权日志的见证者不足。",
    "crosstab_too_large": "交叉表太大：单元格或指标过多。",
    "lookalike_too_large": "相似人群任务太大：特征过多。",
    "sum_too_large": "求和的数太多。",
    "slot_overflow": "数值超出了加密时声明的范围。",
    "slots_do_not_fit": "一行数据放不进一个密文。",
    "bad_key": "收到的匹配密钥不符合要求。",
    "unknown_log": "见证者不认识该日志。",
    "log_not_new": "只有空日志才能声明它替代了什么。",
    # failed
    "party_absent": "某一方的节点没有连接。",
    "unavailable": "某个服务暂时没有应答。",
    "cancelled": "任务已被取消。",
    "job_timeout": "任务超过了最长时间。",
    "step_timeout": "某一步超过了最长时间。",
    "internal": "程序遇到自身的错误，详见该公司的日志。",
    "disk_full": "磁盘已满。",
    "disk_error": "磁盘读写出错。",
    "equivocation": "某一方对同一件事给出了两种不同的内容。",
    "nondeterministic": "重放任务时步骤与之前不同。",
    "not_identified": "数据不足以确定模型的参数。",
    "out_of_bounds": "计算结果超出了合理范围，请检查输入的列。",
    "code_changed": "协调方的软件版本已经改变。",
    "wrong_version": "双方的软件版本不同。",
    "session_lost": "该节点已没有这项任务的密钥。",
    "unknown_party": "名片中没有这一方，请先交换名片。",
    "unknown_certificate": "对方不认识本方的证书，请先交换名片。",
    "not_started": "有进程没有启动。",
    "process_ended": "有进程意外结束。",
}
