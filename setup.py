"""The native kernels, built where a C compiler is present.

Who runs it: pip, from `make setup`.  `optional`: without a compiler, or where it fails, the
installation goes on and the node computes with libraries (`assent doctor` says which).
Everything else is in pyproject.toml.
"""

from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent


def kernel(name: str, folder: str) -> Extension:
    """One extension of all C files in `folder`; it serves every Python from 3.11 on."""
    return Extension(
        name,
        sources=sorted(str(file.relative_to(HERE)) for file in (HERE / folder).glob("*.c")),
        depends=sorted(str(file.relative_to(HERE)) for file in (HERE / folder).glob("*.h")),
        # No fused multiply-add: numpy rounds twice, and both must give the same labels.
        extra_compile_args=["-O3", "-std=gnu11", "-ffp-contract=off"],
        py_limited_api=True,
        optional=True,
    )


setup(
    ext_modules=[
        kernel("protocol.paillier._native", "protocol/paillier/native"),
        kernel("protocol.psi._native", "protocol/psi/native"),
        kernel("protocol.kmeans._native", "protocol/kmeans/native"),
    ]
)
