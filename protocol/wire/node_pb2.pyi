from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeJobRequest(_message.Message):
    __slots__ = ("job", "dry_run")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    dry_run: bool
    def __init__(self, job: _Optional[bytes] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class NodeJobId(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class NodeWatchRequest(_message.Message):
    __slots__ = ("job_id", "since_version", "wait_seconds")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    since_version: int
    wait_seconds: float
    def __init__(self, job_id: _Optional[str] = ..., since_version: _Optional[int] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class NodeJobView(_message.Message):
    __slots__ = ("job_id", "version", "state", "stage", "party", "fraction", "error", "attempt")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    version: int
    state: str
    stage: str
    party: str
    fraction: float
    error: str
    attempt: int
    def __init__(self, job_id: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[str] = ..., stage: _Optional[str] = ..., party: _Optional[str] = ..., fraction: _Optional[float] = ..., error: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class NodeListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeJobList(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[NodeJobSummary]
    def __init__(self, jobs: _Optional[_Iterable[_Union[NodeJobSummary, _Mapping]]] = ...) -> None: ...

class NodeJobSummary(_message.Message):
    __slots__ = ("job_id", "name", "requester", "state", "sentence", "since")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    name: str
    requester: str
    state: str
    sentence: str
    since: float
    def __init__(self, job_id: _Optional[str] = ..., name: _Optional[str] = ..., requester: _Optional[str] = ..., state: _Optional[str] = ..., sentence: _Optional[str] = ..., since: _Optional[float] = ...) -> None: ...

class NodeJobRecord(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: str
    def __init__(self, record: _Optional[str] = ...) -> None: ...

class NodeApproval(_message.Message):
    __slots__ = ("job_id", "approve", "reason")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    APPROVE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    approve: bool
    reason: str
    def __init__(self, job_id: _Optional[str] = ..., approve: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class NodeConsent(_message.Message):
    __slots__ = ("id_type", "identifier", "purpose", "recipient", "category", "state")
    ID_TYPE_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    id_type: str
    identifier: str
    purpose: str
    recipient: str
    category: str
    state: str
    def __init__(self, id_type: _Optional[str] = ..., identifier: _Optional[str] = ..., purpose: _Optional[str] = ..., recipient: _Optional[str] = ..., category: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class NodeConsentFile(_message.Message):
    __slots__ = ("name", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class NodeImportProgress(_message.Message):
    __slots__ = ("doing", "done", "total", "report")
    DOING_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    doing: str
    done: int
    total: int
    report: str
    def __init__(self, doing: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., report: _Optional[str] = ...) -> None: ...

class NodeAck(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class NodeStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class NodeSubject(_message.Message):
    __slots__ = ("id_type", "identifier")
    ID_TYPE_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    id_type: str
    identifier: str
    def __init__(self, id_type: _Optional[str] = ..., identifier: _Optional[str] = ...) -> None: ...

class NodeRights(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: str
    def __init__(self, requests: _Optional[str] = ...) -> None: ...

class NodeRightSettled(_message.Message):
    __slots__ = ("id", "state", "answer")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    answer: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class NodeEvents(_message.Message):
    __slots__ = ("event", "path", "body", "format")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    event: str
    path: str
    body: bytes
    format: str
    def __init__(self, event: _Optional[str] = ..., path: _Optional[str] = ..., body: _Optional[bytes] = ..., format: _Optional[str] = ...) -> None: ...

class NodeIdentity(_message.Message):
    __slots__ = ("id_type", "identifier", "decision")
    ID_TYPE_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    id_type: str
    identifier: str
    decision: str
    def __init__(self, id_type: _Optional[str] = ..., identifier: _Optional[str] = ..., decision: _Optional[str] = ...) -> None: ...

class NodeTagsRequest(_message.Message):
    __slots__ = ("verb", "name", "as_of")
    VERB_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    verb: str
    name: str
    as_of: str
    def __init__(self, verb: _Optional[str] = ..., name: _Optional[str] = ..., as_of: _Optional[str] = ...) -> None: ...

class NodeAnswer(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: str
    def __init__(self, answer: _Optional[str] = ...) -> None: ...
