"""One released result of every kind, and ends without one, as the nodes write them."""

from __future__ import annotations

from typing import Any

PRIVACY = {
    "noise": "discrete_gaussian", "rho": 0.05, "epsilon": 1.7, "min_cohort": 20, "attempts": 1,
    "sigmas": {"overlap": 4.5, "count": 4.5, "sum:media/minutes": 300.0},
    "remaining_rho": {"media": 0.4},
    "warnings": ["min_cohort 20 is under 3σ = 25.5: the noise alone can lift an empty cell over "
                 "it"],
}  # fmt: skip
EXACT = PRIVACY | {"noise": "off", "rho": None, "epsilon": None, "sigmas": {}, "warnings": []}
TITLES = {
    "shop/worth": {"zh": "价值", "en": "Worth",
                   "values": {"good": {"zh": "高价值", "en": "Good"},
                              "small": {"zh": "低价值", "en": "Small"}}},
    "media/interest": {"zh": "兴趣", "en": "Interest",
                       "values": {"travel": {"zh": "旅游", "en": "Travel"}}},
    "media/minutes": {"zh": "观看分钟数", "en": "Minutes watched"},
    "shop/spend": {"zh": "消费金额", "en": "Spending"},
    "shop/best": {"zh": "最佳客户", "en": "Best customer"},
    "shop/stage": {"zh": "阶段", "en": "Stage",
                   "values": {"loyal": {"zh": "忠诚", "en": "Loyal"},
                              "none": {"zh": "尚无阶段", "en": "No stage"}}},
}  # fmt: skip


def _result(job: str, **more: Any) -> dict[str, Any]:
    return {
        "job": job, "status": "released", "requester": "shop", "with": ["media"],
        "match": {"on": ["phone", "email"], "mode": "keyed", "reveal": "hidden",
                  "ambiguous": {"shop": 3}, "unparsable": {"shop": {"phone": 12}}},
        "overlap": {"count": 900, "withheld": None}, "privacy": PRIVACY, "titles": TITLES,
        "consent": {"shop": {"rows": 2000, "eligible": 1500,
                             "excluded": {"refused": 300, "no_record": 200}}},
        "audit": {"log": "assent/1/jobs", "index": 4, "checkpoint": "assent/1/jobs\n4\nAAAA\n"},
        "cost": {"seconds": 9.1, "bytes": {"shop": 31_000_000}, "ciphertexts": 4096},
    } | more  # fmt: skip


def _cell(worth: Any, interest: str, count: int | None, withheld: str | None) -> dict[str, Any]:
    return {
        "shop/worth": worth, "media/interest": interest, "count": count,
        "sum:media/minutes": count and 50.0 * count, "mean:media/minutes": count and 50.0,
        "tgi": count and 131.0, "withheld": withheld,
    }  # fmt: skip


def _summed(job: str, **more: Any) -> dict[str, Any]:
    found = _result(job, **more)
    for key in ("match", "overlap"):
        del found[key]
    return found


CELLS = [_cell("good", "travel", 300, None), _cell("good", "other", None, "below_min_cohort"),
         _cell("small", "travel", 90, None) | {"tgi": 60.0},
         _cell("small", "other", None, "complement"), ]  # fmt: skip
CROSSTAB = _result(
    "worth_by_interest",
    cells=CELLS,
    stages=[{"stage": "loyal", "count": 300, "cells": 3, "released": 2, "withheld": None},
            {"stage": "none", "count": None, "cells": 1, "released": 0,
             "withheld": "below_min_cohort"}],
    flow=[{"before": b, "now": n, "count": c, "cells": 1, "released": 1}
          for b, n, c in (("loyal", "loyal", 300), ("loyal", "none", 90), ("none", "loyal", None),
                          ("none", "none", 40))],
)  # fmt: skip
OVERLAP = _result("overlap", match={"on": ["email"], "mode": "ecdh"})
MEMBERS = _result(
    "members",
    match={"on": ["email"], "mode": "keyed", "reveal": "members"},
    privacy=EXACT | {"warnings": ["members: each party learned which of its own rows are common"]},
)
SEGMENTS = _result(
    "segments", k=3, features=["shop/spend", "shop/visits", "media/minutes"],
    centres=[[100.0, 9.0, 50.0], [500.0, 1.0, 50.0], None], sizes=[300, 100, None],
    sizes_withheld=[None, None, "below_min_cohort"], inertia=9.0, iterations=4,
    deviations=[200.0, 10.0, 20.0],
    segment_tags={"shop": [[{"attribute": "worth", "value": "small", "people": 9, "share": 0.5,
                             "tgi": 152.0}],
                           [{"attribute": "best", "value": "true", "people": 90, "share": 0.5,
                             "tgi": 421.0}], []]},
)  # fmt: skip
EXACT_SEGMENTS = SEGMENTS | {
    "job": "exact",
    "match": {"on": ["email"], "mode": "keyed", "reveal": "members"},
    "privacy": EXACT
    | {"warnings": ["exact: each party learned which of its own rows are common, and their "
                    "segments"]},
}  # fmt: skip
LIKE = _result(
    "like_our_best",
    lookalike={"seed_flag": "shop/best", "features": ["media/minutes", "media/interest"],
               "l2": 1.0, "scores": "scores/like_our_best.parquet at media"},
    curve=[{"reach": 0.2, "seeds": 130.0, "share": 0.39, "lift": 1.95},
           {"reach": 1.0, "seeds": 334.0, "share": 1.0, "lift": 1.0}],
    auc=0.655, curve_withheld=None,
    privacy=PRIVACY | {"sigmas": {"seeds": 2.0, "sum:media/minutes": 1500.0, "curve": 1.4,
                                  "sum:media/interest=travel": 2.0,
                                  "sum:media/interest=other": 2.0}},
)  # fmt: skip
del LIKE["overlap"]
LIKE_AT_PROVIDER = {k: v for k, v in LIKE.items() if not k.startswith(("curve", "auc"))} | {
    "job": "at_the_provider",
    "model": {"seeds": 334, "people": 4500, "intercept": -2.0, "steps": 5,
              "weights": {"media/minutes": -0.2, "media/interest=travel": 0.61},
              "expected_auc": 0.66,
              "expected_curve": [{"reach": 0.5, "seeds": 240.1, "share": 0.72, "lift": 1.44},
                                 {"reach": 1.0, "seeds": 334.0, "share": 1.0, "lift": 1.0}]},
}  # fmt: skip
DISTRIBUTION = _summed(
    "distribution",
    cells=[{"active": True, "worth": "good", "count": 90, "mean:spend": 12.5, "withheld": None},
           {"active": False, "worth": "other", "count": None, "mean:spend": None,
            "withheld": "below_min_cohort", "withheld_measures": {"spend": "below_min_cohort"}}],
    titles={"worth": TITLES["shop/worth"], "spend": TITLES["shop/spend"]},
    privacy=PRIVACY | {"sigmas": {"count": 3.2, "sum:spend": 70.0, "own_count:spend": 3.2}},
)  # fmt: skip
RFM = _summed(
    "rfm",
    scheme="8",
    segments=[{"segment": "important_value", "title": "重要价值客户", "count": 2216,
               "withheld": None},
              {"segment": "general_value", "title": "一般价值客户", "count": None,
               "withheld": "below_min_cohort"}],
    edges={"scores": 5, "recency": {"quintiles": [383.0, 207.0, 91.0, 33.0], "median": 143.0},
           "monetary": {"quintiles": [128.0, 288.0, 576.0, 1152.0], "median": 416.0}},
    privacy=PRIVACY | {"sigmas": {"histogram": 3.2, "count": 3.2}},
)  # fmt: skip
LTV = _summed(
    "ltv",
    parameters={"bg_nbd": {"r": 0.243, "alpha": 4.414, "standard_errors": {"r": 0.01,
                                                                           "alpha": 0.3},
                           "noise_errors": {"r": 0.002, "alpha": 0.05}},
                "gamma_gamma": {"p": 6.25, "standard_errors": {"p": 1.1},
                                "noise_errors": {"p": 0.2}}},
)  # fmt: skip
BY_K = _summed(
    "by_k",
    k=2, features=["spend"], centres=[[1.5], [1009.25]], sizes=[40, 60],
    sizes_withheld=[None, None], inertia=9.0, iterations=4,
    by_k=[{"k": 2, "inertia": 9.0}, {"k": 3, "inertia": 7.5}], privacy=EXACT,
    titles={"spend": TITLES["shop/spend"]},
)  # fmt: skip


def _ended(job: str, status: str, **error: Any) -> dict[str, Any]:
    said = {"party": "media", "stage": "admit", "next_step": "ask for less, or wait a month",
            "retryable": False} | error  # fmt: skip
    return {"job": job, "status": status, "requester": "shop", "with": ["media"], "error": said}


REFUSED = _ended("refused", "refused", code="budget_exhausted", cause="0.02 asked, 0.013 left")
FAILED = _ended("failed", "failed", code="newer_than_this", cause="its disk is on fire")
RELEASED = (
    OVERLAP, CROSSTAB, MEMBERS, SEGMENTS, EXACT_SEGMENTS, LIKE, LIKE_AT_PROVIDER, DISTRIBUTION,
    RFM, LTV, BY_K,
)  # fmt: skip
ALL = (*RELEASED, REFUSED, FAILED)
