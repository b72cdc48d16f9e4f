"""When an event was, from text in any of the usual forms to the party's wall time, as SQL.

Who runs it: every node that declares events.  Learns: nobody, anything.
"""

from __future__ import annotations

# Date and time of day, then an offset.  DuckDB's own cast drops an offset, or the name of a time
# zone, without a word, so what is not of this form is no moment.
_FORM = (
    r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?)"
    r"(?: ?(Z|z|UTC|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?))?$"
)


def moment_sql(offset: int) -> str:
    """Of the column `time`: text, or seconds or milliseconds since 1970; null for anything else.

    offset: seconds of the party's wall time ahead of UTC.
    """
    wall = f"try_cast(regexp_extract(time, '{_FORM}', 1) as timestamp)"
    part = f"regexp_extract(time, '{_FORM}', 2)"
    digits = f"rpad(replace({part}, ':', ''), 5, '0')"
    minutes = f"(cast({digits}[2:3] as bigint) * 60 + cast({digits}[4:5] as bigint))"
    ahead = f"if({digits}[1:1] = '-', -{minutes}, {minutes})"
    local = f"interval {offset} second"
    number = "cast(time as bigint)"
    return f"""(case
        when regexp_full_match(time, '\\d{{10}}') then epoch_ms({number} * 1000) + {local}
        when regexp_full_match(time, '\\d{{13}}') then epoch_ms({number}) + {local}
        when {part} in ('Z', 'z', 'UTC') then {wall} + {local}
        when {part} <> '' then {wall} - to_minutes({ahead}) + {local}
        else {wall} end)"""
