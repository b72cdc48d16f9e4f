"""One whole cross-tab in memory, between two sets of rows; nothing but the protocol's steps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.crosstab.coordinator import layout
from protocol.crosstab.provider import ProviderRows, aggregate
from protocol.crosstab.requester import encrypt_rows, open_outputs
from protocol.crosstab.spec import AttributeSpec, CrosstabSpec, MeasureSpec
from protocol.crosstab.totals import NoisyTotals
from protocol.release.noise import NoiseSource, NoNoise
from tests.protocol.crosstab.textbook import InsecureTextbookKey, TextbookKernel, insecure_key

KERNEL = TextbookKernel()
_KEYS: dict[int, InsecureTextbookKey] = {}


def key_of(bits: int) -> InsecureTextbookKey:
    if bits not in _KEYS:
        _KEYS[bits] = insecure_key(bits)
    return _KEYS[bits]


def attribute(name: str, values: int) -> AttributeSpec:
    return AttributeSpec(name, tuple(f"v{value}" for value in range(values)))


def small_spec(
    rows: int = 2,
    columns: int = 3,
    measures: tuple[MeasureSpec, ...] = (),
    *,
    noise: bool = False,
    rho_nano: int = 20_000_000,
    handles: tuple[int, int] = (8, 8),
    key_bits: int = 512,
    min_cohort: int = 1,
) -> CrosstabSpec:
    return CrosstabSpec(
        (attribute("a/x", rows),) if rows else (),
        (attribute("b/y", columns),) if columns else (),
        measures,
        noise,
        rho_nano,
        key_bits,
        handles[0],
        handles[1],
        min_cohort,
    )


@dataclass
class Tables:
    """Per handle: A's joint code, B's joint code, B's numbers, and whom H paired."""

    codes_a: npt.NDArray[np.int32]
    codes_b: npt.NDArray[np.int32]
    pairing: npt.NDArray[np.int64]
    numbers: tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]], ...] = field(default=())


def upload(
    spec: CrosstabSpec, codes_a: npt.NDArray[np.int32], kernel: Any = KERNEL, key: Any = None
) -> npt.NDArray[np.uint8]:
    key = key or key_of(spec.key_bits)
    return np.concatenate(list(encrypt_rows(spec, kernel, key, codes_a, spec.handles_b)))


def outputs_of(
    spec: CrosstabSpec,
    tables: Tables,
    uploaded: npt.NDArray[np.uint8] | None = None,
    noise: NoiseSource | None = None,
    kernel: Any = KERNEL,
    key: Any = None,
) -> npt.NDArray[np.uint8]:
    key = key or key_of(spec.key_bits)
    rows = upload(spec, tables.codes_a, kernel, key) if uploaded is None else uploaded
    laid = rows[layout(tables.pairing, spec.handles_a)]
    mine = ProviderRows(tables.codes_b, tables.numbers)
    return aggregate(spec, kernel, key.public, laid, mine, noise or NoNoise(), os.urandom)


def run(
    spec: CrosstabSpec,
    tables: Tables,
    noise: NoiseSource | None = None,
    kernel: Any = KERNEL,
    key: Any = None,
) -> NoisyTotals:
    key = key or key_of(spec.key_bits)
    outputs = outputs_of(spec, tables, None, noise, kernel, key)
    return open_outputs(spec, kernel, key, outputs)
