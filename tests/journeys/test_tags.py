"""Events, One ID and tags through real nodes: computed, granted, used, refused, traced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assent.progress import Progress
from assent.sandbox import Sandbox, check
from tests.catalog.tag_samples import FILE
from tests.journeys.conftest import Assent

pytestmark = pytest.mark.slow
VECTORS = Path(__file__).parents[1] / "vectors" / "tags"
PEOPLE = 60

JOB = """\
job: {name}
purpose: {purpose}
protocol: crosstab
requester: media
with: [shop]
match: {{on: [email]}}
rows: media/interest
columns: shop/tier
measures: [count]
privacy: {{noise: off}}
"""


def write(folder: Path) -> Path:
    """The shop of the golden file with sixty people more, and a media company; its path."""
    shutil.copytree(VECTORS, folder)
    with (folder / "people.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"p{i}@example.com,,上海,30,no,1\n" for i in range(PEOPLE))
    with (folder / "purchases.csv").open("a", encoding="utf-8") as file:
        file.writelines(
            f"p{i},p{i}@example.com,2026-02-01,1000,A,no\n" for i in range(0, PEOPLE, 2)
        )
    interests = "".join(f"p{i}@example.com,{'ab'[i < 30]}\n" for i in range(PEOPLE))
    (folder / "media.csv").write_text("email,interest\n" + interests)
    (folder / "tags.yaml").write_text(FILE, encoding="utf-8")
    shop = (folder / "party.yaml").read_text("utf-8").replace("name: shop\n", "")
    block = "".join(f"    {line}\n" for line in shop.splitlines())
    federation = folder / "federation.yaml"
    federation.write_text(
        "federation: tags\nkey_bits: 2048\nparties:\n  shop:\n" + block +
        "    policy: {min_cohort: 1, noise: optional}\n  media:\n    table: media.csv\n"
        "    ids: {email: email}\n    consents: all\n    attributes:\n"
        "      interest: {kind: label, category: content, values: [a, b]}\n"
        "    policy: {min_cohort: 1, noise: optional}\n", encoding="utf-8",
    )  # fmt: skip
    return federation


def test_tags_from_events_to_a_release(tmp_path: Path, assent: Assent) -> None:
    federation = write(tmp_path / "data")
    job = tmp_path / "data" / "job.yaml"
    granted = JOB.format(name="granted", purpose="audience_insight")
    job.write_text(granted + "---\n" + JOB.format(name="not_granted", purpose="segmentation"))
    loaded, (asked, refused) = check(federation, job)
    with Sandbox(loaded, keep=tmp_path / "kept", progress=Progress.quiet()) as sandbox:
        node = sandbox.root / "shop"
        found = sandbox.result(asked)
        assert found["status"] == "released"
        cells = {(c["media/interest"], c["shop/tier"]): c["count"] for c in found["cells"]}
        assert cells["a", "high"] == cells["b", "low"] == 15
        assert sandbox.result(refused)["error"]["code"] == "tag_not_granted"

        planned = assent("job", "plan", job, "--node", sandbox.root / "media")
        assert "shop would refuse: no grant lets media use the tag spender" in planned.out
        assert planned.out.count("would refuse") == 1 + planned.out.count("nobody would refuse")

        # Everybody's next purchase, and the same question again.
        more = tmp_path / "more.csv"
        lines = (f"n{i},p{i}@example.com,2026-02-02,1000,A,no\n" for i in range(PEOPLE))
        more.write_text("order,email,at,amount,brand,gift\n" + "".join(lines))
        said = assent("node", "ingest", "purchase", more, "--node", node)
        assert said.out.startswith("purchase: 60 new events of 60 people"), said
        # A grant that is taken out of the file ends at once.
        tags = tmp_path / "data" / "tags.yaml"
        for text in (FILE.partition("grants:")[0], FILE + "damaged"):
            tags.write_text(text, encoding="utf-8")
            assert sandbox.result(asked)["error"]["code"] == "tag_not_granted"
        tags.write_text(FILE, encoding="utf-8")
        # What a job leaves is a tag before the next job makes its terms.
        (node / "scores").mkdir()
        pq.write_table(pa.table({"row": [0], "score": [0.9]}), node / "scores" / "vips.parquet")
        again = sandbox.result(asked)
        cells = {(c["media/interest"], c["shop/tier"]): c["count"] for c in again["cells"]}
        assert cells["a", "high"] == cells["b", "high"] == 30
        assert assent("node", "ingest", "--node", node).out == "no source has changed\n"

        said = assent("node", "identity", "c-tv", "--type", "device", "--node", node)
        assert json.loads(said.out)[0]["reason"] == "shared"
        said = assent("tags", "run", "recency", "--as-of", "2026-06-01", "--node", node)
        assert "drift" in said.out
        assert said.code == 0
        said = assent("tags", "history", "similar", "--node", node)
        assert "near: 1" in said.out
        said = assent("tags", "history", "spender", "--node", node)
        assert "(released)" in said.out
        said = assent("tags", "lineage", "purchases.csv amount", "--node", node)
        assert "to    tag spender" in said.out
        assert "to    release to media of granted" in said.out
        said = assent("tags", "history", "spendr", "--node", node)
        assert said.code == 2
        assert 'did you mean "spender"' in said.err
        said = assent("tags", "run", "--node", sandbox.root / "media")
        assert (said.code, said.err.strip()) == (
            2, "assent: this party declares neither events nor tags — add events: or tags: to its "
            "file and start the node again",
        )  # fmt: skip
