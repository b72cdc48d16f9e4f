"""Async tests run in a fresh event loop each; what is costly to set up is set up by one worker."""

import asyncio
import inspect
from typing import Any

import pytest

# Files whose tests share a fixture that starts processes or runs for seconds → which.
SHARED = {
    "tests/journeys/test_commands.py": "federation",
    "tests/journeys/test_consent_import.py": "federation",
    "tests/journeys/test_faults.py": "federation",
    "tests/journeys/portal/test_chromium.py": "browser",
    "tests/wire/test_planted.py": "planted",
}


def together(test: str) -> str:
    """Tests with the same answer run in one worker."""
    return "postgresql" if "[postgresql]" in test else SHARED.get(test.split("::")[0], test)


@pytest.hookimpl(optionalhook=True)  # there are runs without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # xdist's own marks for groups have no effect with pytest 9.
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whole stories first, so that no worker is left with one at the end.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
