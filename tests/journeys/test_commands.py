"""`assent job …`, `node …` and `doctor` against a running federation, as scripts use them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assent import doctor
from catalog.collaboration import Collaboration, dump_collaboration, load_collaboration
from tests.journeys import companies, shell
from tests.journeys.conftest import Assent, Up

pytestmark = pytest.mark.slow
REQUESTER, PROVIDER = "零售商", "media"
BANK = companies.OVERLAP.replace("[media]", "[bank]").replace("[phone, email]", "[email]")


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# -- job -----------------------------------------------------------------------------------


def test_a_plan_says_costs_refusals_and_who_learns_what(
    up: Up, assent: Assent, job: Callable[[str], Path]
) -> None:
    node = up.root / REQUESTER
    said = assent("job", "plan", job(companies.CROSSTAB), "--node", node, "--json")
    assert said.code == 0, said.err
    plan = json.loads(said.out)
    assert plan["padded_rows"].keys() == {REQUESTER, PROVIDER}
    assert all(n > 40 for n in plan["padded_rows"].values())
    assert plan["bytes"][REQUESTER] > plan["bytes"][PROVIDER] > 0
    assert plan["seconds"] >= 0
    assert plan["refusals"] == []
    assert plan["learns"].keys() == {REQUESTER, PROVIDER, "coordinator"}

    refused = assent("job", "plan", job(companies.REFUSED), "--node", node)
    assert refused.code == 0, refused.err
    assert "media would refuse: " in refused.out
    assert "(purpose_not_allowed)" in refused.out
    assert "nobody would refuse" not in refused.out


def test_submit_watch_list_result(
    up: Up, assent: Assent, job: Callable[[str], Path], tmp_path: Path
) -> None:
    node = up.root / REQUESTER
    said = assent("job", "submit", job(companies.CROSSTAB), "--node", node)
    assert said.code == 0, said.err
    job_id = said.out.strip()
    assert len(job_id) == 32

    watched = assent("job", "watch", job_id, "--node", node, "--json")
    assert watched.code == 0
    states = [json.loads(line) for line in watched.out.splitlines()]
    assert states[-1]["state"] == "released"
    assert all(
        view.keys() == {"state", "stage", "party", "fraction", "attempt", "error"}
        for view in states
    )  # fmt: skip

    files = ("--out", tmp_path / "r.json", "--html", tmp_path / "r.html", "--lang", "zh")
    found = assent("job", "result", job_id, "--node", node, "--json", *files)
    assert found.code == 0
    assert '<html lang="zh-CN">' in (tmp_path / "r.html").read_text("utf-8")
    result = json.loads(found.out)
    up.made.assert_exact(result)
    # Own counts only: what the provider left out is the provider's own.
    assert result["consent"].keys() == {REQUESTER}
    assert result["match"]["unparsable"].keys() == {REQUESTER}
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == json.loads(found.out)

    for party in (REQUESTER, PROVIDER):
        listed = json.loads(assent("job", "list", "--node", up.root / party, "--json").out)
        (row,) = (row for row in listed if row["id"] == job_id)
        assert (row["name"], row["requester"]) == ("等级与兴趣", REQUESTER)
        assert f"{REQUESTER} learns how many" in row["sentence"]

    elsewhere = assent("job", "result", job_id, "--node", up.root / PROVIDER)
    assert elsewhere.code == 2
    assert "this node has no result of that job — " in elsewhere.err
    assert elsewhere.err.count("\n") == 1


def test_a_question_asked_again_is_answered_from_the_store(
    up: Up, assent: Assent, job: Callable[[str], Path]
) -> None:
    """Section 5, rule 3: nothing is computed, nothing is paid, and it says so."""
    arguments = ("job", "submit", job(companies.OVERLAP), "--node", up.root / REQUESTER, "--wait")
    first, second = assent(*arguments), assent(*arguments)
    assert (first.code, second.code) == (0, 0), second.err
    assert "people in common: " in first.out
    assert "asked before of the same data" in second.out


def test_jobs_of_one_file_have_one_exit_code(
    up: Up, assent: Assent, job: Callable[[str], Path], tmp_path: Path
) -> None:
    file = job(companies.OVERLAP + "---\n" + companies.REFUSED)
    said = assent(
        "job", "submit", file, "--node", up.root / REQUESTER, "--wait",
        "--out", tmp_path / "r.json", "--html", tmp_path / "r.html",
    )  # fmt: skip
    assert said.code == 3
    assert "Results of 2 jobs" in (tmp_path / "r.html").read_text("utf-8")
    released, refused = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert released["overlap"]["count"] == up.made.expected()[0]
    assert refused["status"] == "refused"
    assert refused["error"]["code"] == "purpose_not_allowed"
    assert "refused: refused\n  media admit" in said.out
    assert "activation" in said.out

    (job_id,) = (
        row["id"]
        for row in json.loads(assent("job", "list", "--node", up.root / REQUESTER, "--json").out)
        if row["name"] == "refused"
    )  # fmt: skip
    watched = assent("job", "watch", job_id, "--node", up.root / REQUESTER)
    assert watched.code == 3
    assert watched.err.splitlines()[-1].startswith("assent: media at admit")
    again = assent("job", "result", job_id, "--node", up.root / REQUESTER, "--json")
    assert again.code == 3
    assert json.loads(again.out)["error"] == refused["error"]


def test_approval_refused_and_cancel(up: Up, assent: Assent, job: Callable[[str], Path]) -> None:
    node, bank = up.root / REQUESTER, up.root / "bank"

    def waiting() -> str:
        job_id = assent("job", "submit", job(BANK), "--node", node).out.strip()
        line = f"{job_id}  overlap  waiting for approval\n"
        shell.until(lambda: line in assent("job", "list", "--node", bank).out, 20, "is not waiting")
        return job_id

    refused = waiting()
    said = assent("node", "approve", refused, "--node", bank, "--refuse", "--reason", "not now")
    assert (said.code, said.out) == (0, f"{refused} is refused by bank\n")
    watched = assent("job", "watch", refused, "--node", node)
    assert watched.code == 3
    assert "bank refused the job: not now (approval_refused)" in watched.err
    # A decision holds.
    assert "is refused by bank" in assent("node", "approve", refused, "--node", bank).out

    cancelled = waiting()
    said = assent("job", "cancel", cancelled, "--node", node, "--json")
    assert said.code == 0
    assert json.loads(said.out)["id"] == cancelled
    watched = assent("job", "watch", cancelled, "--node", node)
    assert watched.code == 4
    assert "cancelled" in watched.err
    assert assent("job", "result", cancelled, "--node", node).code == 4


@pytest.mark.parametrize(
    "command",
    [("job", "watch"), ("job", "result"), ("job", "cancel"), ("node", "approve")],
    ids=" ".join,
)
def test_a_job_that_does_not_exist(up: Up, assent: Assent, command: tuple[str, str]) -> None:
    said = assent(*command, "0" * 32, "--node", up.root / REQUESTER)
    assert said.code == 2
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("assent: ")
    assert "knows no such job — see `assent job list`" in said.err


def test_a_job_of_somebody_else_and_files_that_are_wrong(
    up: Up, assent: Assent, job: Callable[[str], Path], tmp_path: Path
) -> None:
    for text, words in (
        (companies.OVERLAP.replace("protocol: psi", "protocol: ps"), "psi"),
        (companies.OVERLAP.replace("[media]", "[nobody]"), "nobody is not in collaboration.yaml"),
        (companies.CROSSTAB.replace("零售商/会员等级", "零售商/会员"), "会员等级"),
    ):
        said = assent("job", "submit", job(text), "--node", up.root / REQUESTER)
        assert said.code == 2, said.err
        assert words in said.err
        assert said.err.count("\n") == 1
    said = assent("job", "submit", job(companies.OVERLAP), "--node", up.root / PROVIDER)
    assert said.code == 2
    assert "submit it at the requester's node" in said.err
    said = assent("job", "list", "--node", tmp_path)
    assert said.code == 2
    assert "no node is running with this data folder" in said.err
    for option in ("--out", "--html"):
        said = assent("job", "submit", job(companies.OVERLAP), option, tmp_path / "x")
        assert said.code == 2
        assert f"{option} needs --wait" in said.err


def test_status_and_a_withdrawal(up: Up, assent: Assent) -> None:
    node = up.root / "bank"
    status = json.loads(assent("node", "status", "--node", node, "--wait", "5").out)
    assert status["ready"] is True
    assert (status["party"], status["rows"], status["key_bits"]) == ("bank", 40, 2048)
    somebody = next(row["email"] for row in up.made.right if row["email"])
    said = assent("node", "consent", somebody, "withdrawn", "--node", node)
    assert said.code == 0, said.err
    assert said.out.startswith("withdrawn for 1 row(s) of bank")
    for arguments, words in (
        (("no e-mail", "withdrawn"), "cannot be read (type email)"),
        ((somebody, "maybe"), "maybe"),
        ((somebody, "withdrawn", "--type", "phone"), "no identifiers of type phone"),
        ((somebody, "withdrawn", "--purpose", "fun"), "fun"),
        ((somebody, "withdrawn", "--recipient", "nobody"), "nobody"),
        ((somebody, "withdrawn", "--category", "secrets"), "secrets"),
    ):
        wrong = assent("node", "consent", *arguments, "--node", node)
        assert wrong.code == 2, wrong.err
        assert words in wrong.err
        assert " — " in wrong.err
        assert wrong.err.count("\n") == 1


# -- doctor --------------------------------------------------------------------------------


def examined(assent: Assent, up: Up, **changed: object) -> tuple[int, dict[str, dict]]:
    """Exit code, and the findings by what was looked at."""
    options = {
        "--collaboration": up.root / "collaboration.yaml",
        "--name": PROVIDER,
        "--keys": up.root / PROVIDER / "keys",
    } | {f"--{key}": value for key, value in changed.items()}
    said = assent("doctor", *(word for pair in options.items() for word in pair), "--json")
    return said.code, {finding["what"]: finding for finding in json.loads(said.out)}


def only_fix(code: int, findings: dict[str, dict]) -> dict:
    """The one finding that needs attention, which says what to do."""
    assert code == 2
    (wrong,) = (finding for finding in findings.values() if not finding["ok"])
    assert wrong["fix"]
    return wrong


def test_doctor_finds_nothing_where_all_is_well(
    up: Up, assent: Assent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A company's proxy is not for this machine itself.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    code, findings = examined(assent, up)
    assert code == 0, findings
    assert all(finding["ok"] for finding in findings.values())
    for server in ("coordinator", "consent"):
        assert f"hello {server}" in findings


def test_doctor_and_servers_that_are_not_there(up: Up, assent: Assent, tmp_path: Path) -> None:
    known = load_collaboration(up.root / "collaboration.yaml")
    text = dump_collaboration(known).replace(
        known.coordinator.address, f"127.0.0.1:{shell.free_port()}"
    )
    (tmp_path / "collaboration.yaml").write_text(text, encoding="utf-8")
    wrong = only_fix(*examined(assent, up, collaboration=tmp_path / "collaboration.yaml"))
    assert "path to coordinator" in wrong["what"]
    assert "nothing listens at 127.0.0.1:" in wrong["found"]
    assert "start the coordinator there" in wrong["fix"]

    # Somebody else's server: here the two exchanged their addresses.
    a, b = known.coordinator.address, known.consent.address
    text = dump_collaboration(known).replace(a, "@").replace(b, a).replace("@", b)
    (tmp_path / "collaboration.yaml").write_text(text, encoding="utf-8")
    code, findings = examined(assent, up, collaboration=tmp_path / "collaboration.yaml")
    assert code == 2
    wrong = [finding for finding in findings.values() if not finding["ok"]]
    assert len(wrong) == 2
    assert all("does not hold the pinned certificate" in one["found"] for one in wrong)


def test_doctor_and_keys(up: Up, assent: Assent, tmp_path: Path) -> None:
    wrong = only_fix(*examined(assent, up, keys=up.root / REQUESTER / "keys"))
    assert "do not belong to the card of media" in wrong["found"]
    wrong = only_fix(*examined(assent, up, keys=tmp_path / "nowhere"))
    assert "cannot be read" in wrong["found"]

    shutil.copytree(up.root / PROVIDER / "keys", tmp_path / "keys")
    (tmp_path / "keys" / "signing.key").chmod(0o644)
    wrong = only_fix(*examined(assent, up, keys=tmp_path / "keys"))
    assert "others may read this private key" in wrong["found"]
    assert "chmod 600" in wrong["fix"]


def test_doctor_and_clocks(up: Up, assent: Assent, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead:
        @staticmethod
        def time() -> float:
            return time.time() + 100

    monkeypatch.setattr(doctor, "time", Ahead)
    code, findings = examined(assent, up)
    assert code == 2
    for server in ("coordinator", "consent"):
        assert "clocks differ by -100 s" in findings[f"hello {server}"]["found"]
        assert "NTP" in findings[f"hello {server}"]["fix"]


def test_doctor_and_names(up: Up, assent: Assent, tmp_path: Path) -> None:
    wrong = only_fix(*examined(assent, up, name="medai"))
    assert "medai is not a party" in wrong["found"]
    assert "media" in wrong["fix"]
    wrong = only_fix(*examined(assent, up, collaboration=tmp_path / "collaboration.yaml"))
    assert "cannot be read" in wrong["found"]


def test_doctor_and_a_party_that_the_servers_do_not_know(
    up: Up, assent: Assent, tmp_path: Path
) -> None:
    from catalog.collaboration import Endpoint
    from protocol.transport.kit import create_kit

    keys = create_kit(tmp_path / "keys", "newcomer", "party")
    known = load_collaboration(up.root / "collaboration.yaml")
    changed = Collaboration(
        known.coordinator, known.consent, {**known.parties, "newcomer": Endpoint.of(keys.card)}
    )
    file = tmp_path / "collaboration.yaml"
    file.write_text(dump_collaboration(changed), encoding="utf-8")
    code, findings = examined(
        assent, up, collaboration=file, name="newcomer", keys=tmp_path / "keys"
    )
    assert code == 2
    wrong = [finding for finding in findings.values() if not finding["ok"]]
    assert len(wrong) == 2
    for one in wrong:
        assert "refuses this party's certificate" in one["found"]
        assert "its operator adds this party's card" in one["fix"]
