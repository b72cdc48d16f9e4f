from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class MaskSeeds(_message.Message):
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

class RoundQuestion(_message.Message):
    __slots__ = ("sealed", "done")
    class SealedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    SEALED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    sealed: _containers.ScalarMap[str, bytes]
    done: bool
    def __init__(self, sealed: _Optional[_Mapping[str, bytes]] = ..., done: _Optional[bool] = ...) -> None: ...

class RoundBody(_message.Message):
    __slots__ = ("question", "result")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    question: bytes
    result: bytes
    def __init__(self, question: _Optional[bytes] = ..., result: _Optional[bytes] = ...) -> None: ...

class SumUpload(_message.Message):
    __slots__ = ("ciphertexts", "key_bits", "paillier_n")
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    KEY_BITS_FIELD_NUMBER: _ClassVar[int]
    PAILLIER_N_FIELD_NUMBER: _ClassVar[int]
    ciphertexts: int
    key_bits: int
    paillier_n: bytes
    def __init__(self, ciphertexts: _Optional[int] = ..., key_bits: _Optional[int] = ..., paillier_n: _Optional[bytes] = ...) -> None: ...

class SumTotal(_message.Message):
    __slots__ = ("ciphertexts", "key_bits")
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    KEY_BITS_FIELD_NUMBER: _ClassVar[int]
    ciphertexts: int
    key_bits: int
    def __init__(self, ciphertexts: _Optional[int] = ..., key_bits: _Optional[int] = ...) -> None: ...
