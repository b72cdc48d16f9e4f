from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConsentHelloRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class ConsentHead(_message.Message):
    __slots__ = ("origin", "size", "time_ms")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    origin: str
    size: int
    time_ms: int
    def __init__(self, origin: _Optional[str] = ..., size: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ConsentScope(_message.Message):
    __slots__ = ("purposes", "recipients", "categories")
    PURPOSES_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    purposes: _containers.RepeatedScalarFieldContainer[str]
    recipients: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, purposes: _Optional[_Iterable[str]] = ..., recipients: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[str]] = ...) -> None: ...

class ConsentBatch(_message.Message):
    __slots__ = ("scopes", "record_ids", "subjects", "key_versions", "scope_codes", "states", "times_ms", "channels")
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    RECORD_IDS_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    KEY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SCOPE_CODES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    TIMES_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    scopes: _containers.RepeatedCompositeFieldContainer[ConsentScope]
    record_ids: bytes
    subjects: bytes
    key_versions: bytes
    scope_codes: bytes
    states: bytes
    times_ms: bytes
    channels: bytes
    def __init__(self, scopes: _Optional[_Iterable[_Union[ConsentScope, _Mapping]]] = ..., record_ids: _Optional[bytes] = ..., subjects: _Optional[bytes] = ..., key_versions: _Optional[bytes] = ..., scope_codes: _Optional[bytes] = ..., states: _Optional[bytes] = ..., times_ms: _Optional[bytes] = ..., channels: _Optional[bytes] = ...) -> None: ...

class ConsentAppendRequest(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: ConsentBatch
    def __init__(self, batch: _Optional[_Union[ConsentBatch, _Mapping]] = ...) -> None: ...

class ConsentReplicateRequest(_message.Message):
    __slots__ = ("since",)
    SINCE_FIELD_NUMBER: _ClassVar[int]
    since: int
    def __init__(self, since: _Optional[int] = ...) -> None: ...

class ConsentReplicaPage(_message.Message):
    __slots__ = ("first_sequence", "batch", "head")
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    batch: ConsentBatch
    head: ConsentHead
    def __init__(self, first_sequence: _Optional[int] = ..., batch: _Optional[_Union[ConsentBatch, _Mapping]] = ..., head: _Optional[_Union[ConsentHead, _Mapping]] = ...) -> None: ...
