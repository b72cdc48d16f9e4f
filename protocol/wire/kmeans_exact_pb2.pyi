from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Places(_message.Message):
    __slots__ = ("handles", "common")
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    COMMON_FIELD_NUMBER: _ClassVar[int]
    handles: int
    common: int
    def __init__(self, handles: _Optional[int] = ..., common: _Optional[int] = ...) -> None: ...

class SpreadBundle(_message.Message):
    __slots__ = ("sealed",)
    class SealedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    SEALED_FIELD_NUMBER: _ClassVar[int]
    sealed: _containers.ScalarMap[str, bytes]
    def __init__(self, sealed: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class FeatureSpread(_message.Message):
    __slots__ = ("exponent",)
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    exponent: int
    def __init__(self, exponent: _Optional[int] = ...) -> None: ...

class MaskedDistances(_message.Message):
    __slots__ = ("rows", "clusters", "last", "done")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    rows: int
    clusters: int
    last: bool
    done: bool
    def __init__(self, rows: _Optional[int] = ..., clusters: _Optional[int] = ..., last: _Optional[bool] = ..., done: _Optional[bool] = ...) -> None: ...

class NearestColumns(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class ClusterCentres(_message.Message):
    __slots__ = ("centres", "inertia")
    CENTRES_FIELD_NUMBER: _ClassVar[int]
    INERTIA_FIELD_NUMBER: _ClassVar[int]
    centres: _containers.RepeatedScalarFieldContainer[float]
    inertia: float
    def __init__(self, centres: _Optional[_Iterable[float]] = ..., inertia: _Optional[float] = ...) -> None: ...
