"""What is special about Marathon: the token in the form that DC/OS wants."""

from pathlib import Path

from scraper.discovery.marathon import MarathonSDConfig
from tests.scraper.discovery.discovering import running, serving_api, surroundings
from tests.scraper.targets import eventually


async def test_the_token_is_sent_and_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("filed\n")
    async with serving_api({"/v2/apps/": {"apps": []}}) as api:
        for config in (
            MarathonSDConfig(servers=(api.url,), auth_token="given"),
            MarathonSDConfig(servers=(api.url,), auth_token_file="token"),
        ):
            async with running(config.discoverer(surroundings(tmp_path))) as published:
                await eventually(lambda: published.times == 1)
        assert [request.headers["Authorization"] for request in api.requests] == ["token=given", "token=filed"]
