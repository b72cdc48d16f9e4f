"""The file of consents: valid words and canonical identifiers, or one sentence."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.federation import Party
from party_node.consents_file import check_consents_file, read_consents
from protocol.errors import BadInput

HEADER = "email,purpose,recipient,category,status\n"
ROW = "a@x.com,audience_insight,media,purchases,given\n"


def party(tmp_path: Path, name: str = "c.csv") -> Party:
    return Party(
        name="shop", table=tmp_path / "t.csv", default_region="CN", consents=tmp_path / name,
        ids={"email": "mail column", "phone": "tel"},
    )  # fmt: skip


def test_records_come_out_in_columns(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "status,phone,purpose,recipient,category\n"
        "given,138 0000 0001,audience_insight,media,purchases\n"
        "withdrawn , +8613800000001,audience_insight,银行,purchases\n"
        "refused,n/a,activation,media,content\n"
        "given,,activation,media,content\n",
        encoding="utf-8",
    )
    check_consents_file(party(tmp_path))
    found = read_consents(party(tmp_path))
    assert found.kind == "phone"
    assert len(found) == 4
    assert found.ids.to_pylist() == ["+8613800000001"] * 2 + [None, None]
    assert found.statuses.to_pylist() == ["given", "withdrawn", "refused", "given"]
    assert found.recipients.to_pylist() == ["media", "银行", "media", "media"]
    assert found.purposes.to_pylist()[2] == "activation"
    assert found.categories.to_pylist()[2] == "content"
    assert (found.missing, found.unparsable) == (1, 1)
    assert "138" not in repr(found)


def test_parquet_too(tmp_path: Path) -> None:
    names = HEADER.strip().split(",")
    pq.write_table(
        pa.table({n: [v] for n, v in zip(names, ROW.strip().split(","), strict=True)}),
        tmp_path / "c.parquet",
    )
    assert read_consents(party(tmp_path, "c.parquet")).ids.to_pylist() == ["a@x.com"]


def test_all_has_no_file(tmp_path: Path) -> None:
    everyone = party(tmp_path).model_copy(update={"consents": "all"})
    check_consents_file(everyone)
    with pytest.raises(ValueError, match="has no file"):
        read_consents(everyone)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + ROW + ROW.replace("given", "gvien"),
         'row 2 (line 3): column "status": "gvien" is not known — did you mean "given"?'),
        (HEADER + ROW.replace("audience_insight", "fun"),
         'row 1 (line 2): column "purpose": "fun"'),
        (HEADER + ROW.replace("given", "b@x.com"), 'column "status": the word is not known'),
        (HEADER + ROW.replace("purchases", "shoes"), 'column "category": "shoes" is not known'),
        (HEADER + ROW.replace("given", ""), 'column "status" is empty — fill it in'),
        (HEADER + ROW.replace("media", " "), 'column "recipient" is empty'),
        (HEADER.replace("status", "state") + ROW,
         'column "state" is not known in a file of consents — did you mean "status"?'),
        (HEADER.replace(",status", "") + ROW.replace(",given", ""), 'has no column "status"'),
        (HEADER.replace("email", "customer") + ROW, 'column "customer" is not known'),
        ("purpose,recipient,category,status\naudience_insight,media,purchases,given\n",
         "has no identifier type; a file of consents has one"),
        (HEADER.replace("\n", ",phone\n") + ROW.replace("\n", ",1\n"),
         "has email and phone; a file of consents has one"),
        (HEADER.replace("\n", ",expires\n") + ROW.replace("\n", ",1\n"),
         'column "expires" is not known'),
        (HEADER + ROW.replace("a@x.com,", ""), "line 2: has 4 cells, the header has 5"),
        (HEADER, "has a header but no row"),
        ("", "is empty"),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        check_consents_file(party(tmp_path))
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_and_unknown_recipient(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        check_consents_file(party(tmp_path))
    (tmp_path / "c.csv").write_text(HEADER + ROW.replace("media", "medai"))
    check_consents_file(party(tmp_path))
    with pytest.raises(BadInput, match=r'"medai" is not known — did you mean "media"'):
        check_consents_file(party(tmp_path), ["media", "bank"])
