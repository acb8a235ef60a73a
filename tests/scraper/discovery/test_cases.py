"""Every source that asks an HTTP API, against a server that answers as its documentation says."""

import pytest

from tests.scraper.discovery.api_case import NAMES, asked_of, config_of, discoverer_of, filled, read_case
from tests.scraper.discovery.discovering import REFRESH_MS, Labels, failures, running, serving_api, surroundings
from tests.scraper.targets import eventually


def ordered(targets: list[Labels]) -> list[Labels]:
    return sorted(targets, key=lambda labels: sorted(labels.items()))


@pytest.mark.parametrize("name", NAMES)
async def test_source(name: str) -> None:
    case = read_case(name)
    around = surroundings()
    async with serving_api(dict(case.answers)) as api:
        config = config_of(case, api, refresh_interval=f"{REFRESH_MS}ms")
        async with running(discoverer_of(case, config, around, api)) as published:
            await eventually(lambda: published.times > 0 or failures(around, case.key.split("_")[0]) > 0)
            assert ordered(published.targets) == ordered(filled(case.targets, api))
            requests = [asked_of(request) for request in api.requests]
            assert [line for line in case.asked if line not in requests] == []

            api.broken = True
            failed = failures(around, case.key.split("_")[0])
            await eventually(lambda: failures(around, case.key.split("_")[0]) > failed)
            assert len(published.targets) == len(case.targets)

            api.broken = False
            api.answers |= case.without
            await eventually(lambda: published.targets == [])
