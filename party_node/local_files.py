"""Labels and scores of a party's own people: files in its own folder, which never leave.

Who runs it: every party at the end of a job that gives some.  Learns: that party, about its own
people.  contracts.md, JOB.yaml: labels/JOB.parquet and scores/JOB.parquet, `row` is the number
of the row in the table from 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from protocol.secure_sum.model import Local


def write(folder: Path, job: str, rows: npt.NDArray[np.int64], local: Local) -> Path:
    """All or nothing; a later run of a job of the same name replaces the file."""
    target = folder / local.folder / f"{job}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_name(target.name + ".part")
    columns = {"row": rows, **local.columns}
    pq.write_table(pa.table({name: _column(values) for name, values in columns.items()}), partial)
    partial.replace(target)
    return target


def _column(values: npt.NDArray[np.generic]) -> pa.Array:
    """NaN and what is masked are null: an unknown score is no number."""
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values))
    return pa.array(values, from_pandas=True)
