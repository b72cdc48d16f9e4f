from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PaillierPublicKey(_message.Message):
    __slots__ = ("bits", "n")
    BITS_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    bits: int
    n: bytes
    def __init__(self, bits: _Optional[int] = ..., n: _Optional[bytes] = ...) -> None: ...

class PaillierKeyProof(_message.Message):
    __slots__ = ("sigmas",)
    SIGMAS_FIELD_NUMBER: _ClassVar[int]
    sigmas: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, sigmas: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PaillierKeyAnnouncement(_message.Message):
    __slots__ = ("key", "proof")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    key: PaillierPublicKey
    proof: PaillierKeyProof
    def __init__(self, key: _Optional[_Union[PaillierPublicKey, _Mapping]] = ..., proof: _Optional[_Union[PaillierKeyProof, _Mapping]] = ...) -> None: ...

class CiphertextArray(_message.Message):
    __slots__ = ("bits", "rows", "per_row", "bound")
    BITS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PER_ROW_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    bits: int
    rows: int
    per_row: int
    bound: SlotBound
    def __init__(self, bits: _Optional[int] = ..., rows: _Optional[int] = ..., per_row: _Optional[int] = ..., bound: _Optional[_Union[SlotBound, _Mapping]] = ...) -> None: ...

class SlotBound(_message.Message):
    __slots__ = ("width", "low", "high")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    width: int
    low: bytes
    high: bytes
    def __init__(self, width: _Optional[int] = ..., low: _Optional[bytes] = ..., high: _Optional[bytes] = ...) -> None: ...
