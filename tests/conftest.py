"""Fixtures that several rooms' tests use."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fleetwatch_process import FleetwatchProcess, running

pytest_plugins = ["tests.databases"]

# How long a case takes says more of the machine's other work than of the code.
settings.register_profile("fleetwatch", deadline=None)
settings.load_profile("fleetwatch")


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Exporters that the tests start keep their state here and not where this host's own keeps it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def fleetwatch_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetwatchProcess]:
    """One `fleetwatch run` for all tests that only read from it, with a few scrapes taken."""
    with running(tmp_path_factory.mktemp("fleetwatch")) as process:
        process.wait_for(
            'count_over_time(up{job="node"}[5m])', lambda answer: any(value >= 5 for value in answer.values())
        )
        yield process
