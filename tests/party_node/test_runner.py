"""The node's runner against a scripted coordinator: what it must refuse, whoever asks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from party_node.runner import Pace, Runner, StepOutput, StepTask
from party_node.store import NodeStore, StoredOutput, instance_id
from protocol.errors import AssentError, ErrorInfo, Failed, ProtocolViolation
from protocol.transport.digest import step_digest
from protocol.transport.port import (
    ArtifactRef,
    HelloAnswer,
    JobStatus,
    LeaseAnswer,
    StepKey,
    StepLease,
    UploadState,
)

JOB = "a" * 32


def lease(step: str = "work/x", **changes: Any) -> StepLease:
    key = StepKey(JOB, 1, step)
    plain = StepLease(
        key=key, party="ann", protocol="p", protocol_version=1, requester="ann",
        parties=("ann", "bob"), params={"n": 1}, inputs=(), recipient="bob", input_digest=b"",
        seconds=1.0,
    )  # fmt: skip
    made = replace(plain, **changes)
    if "input_digest" in changes:
        return made
    digest = step_digest(made.key, made.party, made.recipient, made.params, made.inputs)
    return replace(made, input_digest=digest)


class Script:
    """Gives the leases one after the other and remembers what the node says."""

    def __init__(self, *leases: StepLease, content: bytes = b"input") -> None:
        self._leases, self._content = list(leases), content
        self.completed: list[tuple[StepKey, bytes]] = []
        self.failed: list[tuple[StepKey, ErrorInfo, str]] = []
        self.uploaded: dict[StepKey, bytes] = {}
        self.downloads = 0

    async def hello(self, instance: object) -> HelloAnswer:
        return HelloAnswer("0", 0.0, "ann", 1.0, 0.05)

    async def lease(
        self, _instance: object, holding: tuple[StepKey, ...], *_: object
    ) -> LeaseAnswer:
        await asyncio.sleep(0.01)
        if holding:
            return LeaseAnswer(None)
        return LeaseAnswer(self._leases.pop(0) if self._leases else None)

    async def heartbeat(self, *_: object) -> bool:
        return False

    async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> UploadState:
        return UploadState(0, finished=False)

    async def upload(
        self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
    ) -> UploadState:
        self.uploaded[key] = b"".join([chunk async for chunk in chunks])
        return UploadState(size, finished=False)

    async def download(self, key: StepKey, artifact: str, offset: int) -> AsyncIterator[bytes]:
        self.downloads += 1
        yield self._content[offset:]

    async def complete(self, key: StepKey, sha256: bytes, size: int, signature: bytes) -> None:
        self.completed.append((key, sha256))

    async def fail(self, key: StepKey, error: ErrorInfo, status: str) -> None:
        self.failed.append((key, error, status))


def _work(task: StepTask) -> StepOutput:
    out = task.workdir / "out"
    out.write_bytes(b"output")
    return StepOutput(out)


def play(folder: Path, script: Script, expected: int = 1, **changes: Any) -> NodeStore:
    """Runs a node until it has answered `expected` steps."""

    async def main() -> None:
        settings: dict[str, Any] = {
            "party": "ann", "port": script, "store": store, "folder": folder,
            "handlers": {"work": _work}, "sign": lambda ref: b"s" * 64, "verify": lambda ref: None,
            "on_ended": lambda status: None, "pace": Pace(0.05, 0.01, 0.01, 0.01),
        }  # fmt: skip
        runner = asyncio.create_task(Runner(**(settings | changes)).run())
        async with asyncio.timeout(5):
            while len(script.completed) + len(script.failed) < expected:
                await asyncio.sleep(0.01)
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)

    store = NodeStore(folder / "node.sqlite")
    asyncio.run(main())
    return store


def _input(content: bytes = b"input", **changes: Any) -> ArtifactRef:
    plain = ArtifactRef(
        "id", "in/put", JOB, 1, "made", "bob", "ann", hashlib.sha256(content).digest(),
        len(content), b"signature",
    )  # fmt: skip
    return replace(plain, **changes)


def _code(script: Script) -> str:
    assert not script.completed
    assert not script.uploaded
    ((_, error, _),) = script.failed
    return error.code


def test_a_step_is_done(tmp_path: Path) -> None:
    script = Script(lease(inputs=(_input(),)))
    seen: list[bytes] = []

    def handler(task: StepTask) -> StepOutput:
        seen.append(task.inputs["in/put"].path.read_bytes())
        return _work(task)

    play(tmp_path, script, handlers={"work": handler})
    assert seen == [b"input"]
    assert script.completed == [(StepKey(JOB, 1, "work/x"), hashlib.sha256(b"output").digest())]
    assert list((tmp_path / "work").iterdir()) == []


def test_what_is_signed_names_author_and_recipient(tmp_path: Path) -> None:
    signed: list[ArtifactRef] = []

    def sign(ref: ArtifactRef) -> bytes:
        signed.append(ref)
        return b"s"

    play(tmp_path, Script(lease()), sign=sign)
    (ref,) = signed
    assert (ref.author, ref.recipient, ref.step) == ("ann", "bob", "work/x")
    assert ref.sha256 == hashlib.sha256(b"output").digest()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (lease(input_digest=bytes(32)), "bad_lease"),
        (lease(party="bob"), "bad_lease"),
        (lease(key=StepKey("../" * 10 + "tmp", 1, "work/x")), "bad_lease"),
        (lease(key=StepKey(JOB, 4, "work/x")), "bad_lease"),
        (lease("other/x"), "unknown_step_kind"),
        (lease(inputs=(_input(job="b" * 32),)), "bad_lease"),
        (lease(inputs=(_input(b"what was signed"),)), "corrupt_artifact"),
        (lease(inputs=(_input(size=3),)), "corrupt_artifact"),
    ],
)
def test_what_the_node_does_not_do(tmp_path: Path, given: StepLease, code: str) -> None:
    content = b"what came, same" if given.inputs and given.inputs[0].size == 15 else b"input"
    script = Script(given, content=content)
    play(tmp_path, script)
    assert _code(script) == code


def test_a_bad_signature_is_seen_before_the_handler(tmp_path: Path) -> None:
    def verify(ref: ArtifactRef) -> None:
        raise ProtocolViolation("bad_signature", "no")

    def handler(task: StepTask) -> StepOutput:
        raise AssertionError("the handler saw unverified bytes")

    script = Script(lease(inputs=(_input(),)))
    play(tmp_path, script, verify=verify, handlers={"work": handler})
    assert _code(script) == "bad_signature"


def test_the_same_step_again_gives_the_same_bytes(tmp_path: Path) -> None:
    made: list[int] = []

    def handler(task: StepTask) -> StepOutput:
        made.append(1)
        out = task.workdir / "out"
        out.write_bytes(b"%d" % len(made))
        return StepOutput(out)

    script = Script(lease(), lease(), lease())
    play(tmp_path, script, expected=2, handlers={"work": handler})
    assert len(made) == 1
    assert {digest for _, digest in script.completed} == {hashlib.sha256(b"1").digest()}


def test_another_input_for_a_finished_step_is_equivocation(tmp_path: Path) -> None:
    script = Script(lease())
    play(tmp_path, script).close()
    again = Script(lease(params={"n": 2}))
    ended: list[object] = []
    store = play(tmp_path, again, on_ended=ended.append)
    assert _code(again) == "equivocation"
    store.close()


def test_output_and_spending_are_one_transaction(tmp_path: Path) -> None:
    """The hook fails: no output is stored, no byte leaves.  It works: both are there, once."""

    def handler(task: StepTask) -> StepOutput:
        made = _work(task)

        def spend(db: sa.Connection) -> None:
            db.execute(sa.text("INSERT INTO spent VALUES (1)"))
            if task.step == "work/broken":
                raise Failed("budget_exhausted", "nothing left")

        return StepOutput(made.path, spend)

    store = NodeStore(tmp_path / "node.sqlite")
    with store.engine.begin() as db:
        db.execute(sa.text("CREATE TABLE spent (n INTEGER)"))
    store.close()
    script = Script(lease("work/broken"), lease("work/good"), lease("work/good"))
    store = play(tmp_path, script, expected=3, handlers={"work": handler})
    assert [error.code for _, error, _ in script.failed] == ["budget_exhausted"]
    assert StepKey(JOB, 1, "work/broken") not in script.uploaded
    with store.engine.connect() as db:
        assert db.execute(sa.text("SELECT count(*) FROM spent")).scalar() == 1
    store.close()


def test_no_byte_leaves_before_the_commit(tmp_path: Path) -> None:
    order: list[str] = []

    class Watching(Script):
        async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> UploadState:
            order.append("network")
            return await super().upload_state(key, sha256, size)

        async def upload(
            self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
        ) -> UploadState:
            order.append("network")
            return await super().upload(key, sha256, size, offset, chunks)

    def handler(task: StepTask) -> StepOutput:
        return StepOutput(_work(task).path, lambda db: order.append("commit"))

    play(tmp_path, Watching(lease()), handlers={"work": handler}).close()
    assert order == ["commit", "network", "network"]


@pytest.mark.parametrize(("spoil", "downloads"), [("", 0), ("gone", 1), ("changed", 1)])
def test_an_own_output_is_downloaded_only_if_its_file_has_gone_or_changed(
    tmp_path: Path, spoil: str, downloads: int
) -> None:
    seen: list[bytes] = []

    def reads(task: StepTask) -> StepOutput:
        seen.append(task.inputs["in/put"].path.read_bytes())
        return _work(task)

    class Spoiling(Script):
        async def complete(self, key: StepKey, sha256: bytes, size: int, signature: bytes) -> None:
            await super().complete(key, sha256, size, signature)
            if key.step == "work/x":
                (file,) = (tmp_path / "outputs" / JOB).iterdir()
                if spoil == "gone":
                    file.unlink()
                elif spoil == "changed":
                    file.write_bytes(b"uotput")

    own = _input(b"output", author="ann", step="work/x")
    script = Spoiling(lease("work/x"), lease("read/y", inputs=(own,)), content=b"output")
    play(tmp_path, script, expected=2, handlers={"work": _work, "read": reads}).close()
    assert (script.failed, seen, script.downloads) == ([], [b"output"], downloads)


def test_outgoing_errors_pass_the_filter(tmp_path: Path) -> None:
    """What the coordinator may read is the owner's choice; a filter that fails says nothing."""

    def handler(task: StepTask) -> StepOutput:
        raise Failed("below", "alice has 3")

    script = Script(lease())
    play(
        tmp_path, script, handlers={"work": handler},
        outgoing_error=lambda key, error: replace(error, cause="sealed"),
    )  # fmt: skip
    ((_, error, _),) = script.failed
    assert (error.cause, error.party, error.stage) == ("sealed", "ann", "work/x")

    def broken(key: StepKey, error: ErrorInfo) -> ErrorInfo:
        raise ValueError("alice")

    script = Script(lease("work/y"))
    play(tmp_path, script, handlers={"work": handler}, outgoing_error=broken)
    ((_, error, _),) = script.failed
    assert "alice" not in error.sentence()


def test_the_first_commit_wins(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.sqlite")
    key = StepKey(JOB, 1, "work/x")
    first = StoredOutput(b"d", tmp_path / "a", b"1", 1, b"s")
    second = replace(first, sha256=b"2")
    assert store.commit(key, first, None) == first
    ran: list[int] = []
    assert store.commit(key, second, lambda db: ran.append(1)) == first
    assert ran == []
    with pytest.raises(AssentError) as caught:
        store.output(key, b"other")
    assert caught.value.info.code == "equivocation"
    store.close()


def test_an_instance_id_stays(tmp_path: Path) -> None:
    first = instance_id(tmp_path / "new")
    assert len(first) == 32
    assert instance_id(tmp_path / "new") == first
    assert instance_id(tmp_path / "other") != first


def test_a_closed_job_is_not_taken_up_again(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.sqlite")
    store.open_job(JOB)
    assert store.open_jobs() == (JOB,)
    store.close_job(JOB)
    store.close()
    script = Script(lease())
    play(tmp_path, script).close()
    assert _code(script) == "job_closed"


def test_the_end_of_a_job_this_node_does_not_know_deletes_nothing(tmp_path: Path) -> None:
    """The coordinator names what it likes as ended; only the node's own open jobs are wiped."""
    victim = tmp_path / "victim"
    victim.mkdir()

    class Lying(Script):
        async def lease(self, *arguments: object) -> LeaseAnswer:
            answer = await super().lease(*arguments)
            lies = [
                JobStatus(name, "p", 1, "ann", (), "failed", 1, 1) for name in ("../victim", "b")
            ]
            return replace(answer, ended=tuple(lies))

    ended: list[object] = []
    play(tmp_path, Lying(lease()), on_ended=ended.append).close()
    assert ended == []
    assert victim.exists()
