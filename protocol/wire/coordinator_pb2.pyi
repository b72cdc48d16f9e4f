from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorInfo(_message.Message):
    __slots__ = ("code", "cause", "party", "stage", "next_step", "status")
    CODE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    code: str
    cause: str
    party: str
    stage: str
    next_step: str
    status: str
    def __init__(self, code: _Optional[str] = ..., cause: _Optional[str] = ..., party: _Optional[str] = ..., stage: _Optional[str] = ..., next_step: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "boot")
    ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    id: str
    boot: str
    def __init__(self, id: _Optional[str] = ..., boot: _Optional[str] = ...) -> None: ...

class StepKey(_message.Message):
    __slots__ = ("job", "attempt", "step")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: int
    step: str
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[int] = ..., step: _Optional[str] = ...) -> None: ...

class ArtifactRef(_message.Message):
    __slots__ = ("id", "name", "key", "author", "recipient", "sha256", "size", "signature")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    key: StepKey
    author: str
    recipient: str
    sha256: bytes
    size: int
    signature: bytes
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., key: _Optional[_Union[StepKey, _Mapping]] = ..., author: _Optional[str] = ..., recipient: _Optional[str] = ..., sha256: _Optional[bytes] = ..., size: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class HelloRequest(_message.Message):
    __slots__ = ("instance",)
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance: Instance
    def __init__(self, instance: _Optional[_Union[Instance, _Mapping]] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("version", "time", "party", "lease_seconds", "heartbeat_seconds")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    version: str
    time: float
    party: str
    lease_seconds: float
    heartbeat_seconds: float
    def __init__(self, version: _Optional[str] = ..., time: _Optional[float] = ..., party: _Optional[str] = ..., lease_seconds: _Optional[float] = ..., heartbeat_seconds: _Optional[float] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("id", "protocol", "version", "requester", "parties", "params", "sealed")
    class SealedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    id: str
    protocol: str
    version: int
    requester: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    params: bytes
    sealed: _containers.ScalarMap[str, bytes]
    def __init__(self, id: _Optional[str] = ..., protocol: _Optional[str] = ..., version: _Optional[int] = ..., requester: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., params: _Optional[bytes] = ..., sealed: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("state", "done", "total")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    state: str
    done: int
    total: int
    def __init__(self, state: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class JobView(_message.Message):
    __slots__ = ("id", "protocol", "protocol_version", "requester", "parties", "state", "version", "attempt", "stage", "party", "progress", "error", "created", "changed")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    id: str
    protocol: str
    protocol_version: int
    requester: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    state: str
    version: int
    attempt: int
    stage: str
    party: str
    progress: Progress
    error: ErrorInfo
    created: float
    changed: float
    def __init__(self, id: _Optional[str] = ..., protocol: _Optional[str] = ..., protocol_version: _Optional[int] = ..., requester: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., version: _Optional[int] = ..., attempt: _Optional[int] = ..., stage: _Optional[str] = ..., party: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., error: _Optional[_Union[ErrorInfo, _Mapping]] = ..., created: _Optional[float] = ..., changed: _Optional[float] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("instance", "holding", "open_jobs", "wait_seconds")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    OPEN_JOBS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    instance: Instance
    holding: _containers.RepeatedCompositeFieldContainer[StepKey]
    open_jobs: _containers.RepeatedScalarFieldContainer[str]
    wait_seconds: float
    def __init__(self, instance: _Optional[_Union[Instance, _Mapping]] = ..., holding: _Optional[_Iterable[_Union[StepKey, _Mapping]]] = ..., open_jobs: _Optional[_Iterable[str]] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class LeaseReply(_message.Message):
    __slots__ = ("step", "ended")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    step: StepLease
    ended: _containers.RepeatedCompositeFieldContainer[JobView]
    def __init__(self, step: _Optional[_Union[StepLease, _Mapping]] = ..., ended: _Optional[_Iterable[_Union[JobView, _Mapping]]] = ...) -> None: ...

class StepLease(_message.Message):
    __slots__ = ("key", "party", "protocol", "protocol_version", "requester", "parties", "params", "inputs", "recipient", "input_digest", "seconds", "sealed")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    key: StepKey
    party: str
    protocol: str
    protocol_version: int
    requester: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    params: bytes
    inputs: _containers.RepeatedCompositeFieldContainer[ArtifactRef]
    recipient: str
    input_digest: bytes
    seconds: float
    sealed: bytes
    def __init__(self, key: _Optional[_Union[StepKey, _Mapping]] = ..., party: _Optional[str] = ..., protocol: _Optional[str] = ..., protocol_version: _Optional[int] = ..., requester: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., params: _Optional[bytes] = ..., inputs: _Optional[_Iterable[_Union[ArtifactRef, _Mapping]]] = ..., recipient: _Optional[str] = ..., input_digest: _Optional[bytes] = ..., seconds: _Optional[float] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("instance", "key", "progress")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    instance: Instance
    key: StepKey
    progress: Progress
    def __init__(self, instance: _Optional[_Union[Instance, _Mapping]] = ..., key: _Optional[_Union[StepKey, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("cancelled",)
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    cancelled: bool
    def __init__(self, cancelled: _Optional[bool] = ...) -> None: ...

class UploadHead(_message.Message):
    __slots__ = ("key", "sha256", "size", "offset")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    key: StepKey
    sha256: bytes
    size: int
    offset: int
    def __init__(self, key: _Optional[_Union[StepKey, _Mapping]] = ..., sha256: _Optional[bytes] = ..., size: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class UploadChunk(_message.Message):
    __slots__ = ("head", "data")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    head: UploadHead
    data: bytes
    def __init__(self, head: _Optional[_Union[UploadHead, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadReply(_message.Message):
    __slots__ = ("received", "finished")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    received: int
    finished: bool
    def __init__(self, received: _Optional[int] = ..., finished: _Optional[bool] = ...) -> None: ...

class DownloadRequest(_message.Message):
    __slots__ = ("key", "artifact", "offset")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    key: StepKey
    artifact: str
    offset: int
    def __init__(self, key: _Optional[_Union[StepKey, _Mapping]] = ..., artifact: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class DownloadChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class CompleteRequest(_message.Message):
    __slots__ = ("key", "sha256", "size", "signature")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    key: StepKey
    sha256: bytes
    size: int
    signature: bytes
    def __init__(self, key: _Optional[_Union[StepKey, _Mapping]] = ..., sha256: _Optional[bytes] = ..., size: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class CompleteReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FailRequest(_message.Message):
    __slots__ = ("key", "error")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    key: StepKey
    error: ErrorInfo
    def __init__(self, key: _Optional[_Union[StepKey, _Mapping]] = ..., error: _Optional[_Union[ErrorInfo, _Mapping]] = ...) -> None: ...

class FailReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("job", "since_version", "wait_seconds")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SINCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    job: str
    since_version: int
    wait_seconds: float
    def __init__(self, job: _Optional[str] = ..., since_version: _Optional[int] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobView]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobView, _Mapping]]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("job", "reason")
    JOB_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job: str
    reason: str
    def __init__(self, job: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
