from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class LocalCells(_message.Message):
    __slots__ = ("centres", "deviation", "spread")
    CENTRES_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    centres: _containers.RepeatedScalarFieldContainer[float]
    deviation: _containers.RepeatedScalarFieldContainer[float]
    spread: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, centres: _Optional[_Iterable[float]] = ..., deviation: _Optional[_Iterable[float]] = ..., spread: _Optional[_Iterable[float]] = ...) -> None: ...

class CellSegments(_message.Message):
    __slots__ = ("segments",)
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    segments: bytes
    def __init__(self, segments: _Optional[bytes] = ...) -> None: ...
