from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TokenUpload(_message.Message):
    __slots__ = ("handles", "types", "width")
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    handles: int
    types: int
    width: int
    def __init__(self, handles: _Optional[int] = ..., types: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class Points(_message.Message):
    __slots__ = ("handles", "types", "width")
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    handles: int
    types: int
    width: int
    def __init__(self, handles: _Optional[int] = ..., types: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class Membership(_message.Message):
    __slots__ = ("handles",)
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    handles: int
    def __init__(self, handles: _Optional[int] = ...) -> None: ...
