from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class FeatureUpload(_message.Message):
    __slots__ = ("rows", "supply", "ciphertexts_per_row", "key_bits")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SUPPLY_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_PER_ROW_FIELD_NUMBER: _ClassVar[int]
    KEY_BITS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    supply: int
    ciphertexts_per_row: int
    key_bits: int
    def __init__(self, rows: _Optional[int] = ..., supply: _Optional[int] = ..., ciphertexts_per_row: _Optional[int] = ..., key_bits: _Optional[int] = ...) -> None: ...

class FeatureLayout(_message.Message):
    __slots__ = ("rows", "ciphertexts_per_row", "key_bits")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXTS_PER_ROW_FIELD_NUMBER: _ClassVar[int]
    KEY_BITS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    ciphertexts_per_row: int
    key_bits: int
    def __init__(self, rows: _Optional[int] = ..., ciphertexts_per_row: _Optional[int] = ..., key_bits: _Optional[int] = ...) -> None: ...

class SeedSums(_message.Message):
    __slots__ = ("outputs", "key_bits")
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    KEY_BITS_FIELD_NUMBER: _ClassVar[int]
    outputs: int
    key_bits: int
    def __init__(self, outputs: _Optional[int] = ..., key_bits: _Optional[int] = ...) -> None: ...
