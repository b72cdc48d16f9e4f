"""Composition root: the only package that knows all others."""

import os

# gRPC's C core writes to standard error by itself, for example at every refused handshake.
# What a person needs to know is said in words by the callers; the variable still works.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
