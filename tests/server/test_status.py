"""Status, lifecycle and own metrics."""

from prometheus_client.parser import text_string_to_metric_families as parse_text

from common.errors import FleetwatchError
from server.deps import ConfigStatus
from tests.server.conftest import Serve, Server


async def test_build_information_says_a_prometheus_version_and_our_own(server: Server) -> None:
    data = await server.data("status/buildinfo")
    assert data["version"] == "3.5.0+fleetwatch.1.2.3"
    assert (data["revision"], data["branch"], data["application"]) == ("abc", "main", "Fleetwatch")


async def test_configuration_runtime_and_flags(serve: Serve) -> None:
    config = ConfigStatus("global: {}\n", loaded_ms=1_700_000_000_500, reload_succeeded=False)
    server = await serve(config_status=lambda: config, flags={"log.level": "info"}, retention="15d")
    assert await server.data("status/config") == {"yaml": "global: {}\n"}
    assert await server.data("status/flags") == {"log.level": "info"}
    runtime = await server.data("status/runtimeinfo")
    assert runtime["lastConfigTime"] == "2023-11-14T22:13:20.5Z"
    assert runtime["reloadConfigSuccess"] is False
    assert runtime["storageRetention"] == "15d"


async def test_no_rules_and_no_alerts(server: Server) -> None:
    assert await server.data("rules") == {"groups": []}
    assert await server.data("alerts") == {"alerts": []}


async def test_health_and_readiness(serve: Serve) -> None:
    ready = False
    server = await serve(ready=lambda: ready)
    for path, status in (("/-/healthy", 200), ("/-/ready", 503), ("/api/v1/labels", 503)):
        async with server.session.get(path) as response:
            assert response.status == status
    ready = True
    for method in ("GET", "HEAD"):
        async with server.session.request(method, "/-/ready") as response:
            assert response.status == 200


async def test_reload(serve: Serve) -> None:
    problems = ["bad.yml:3: unknown key", ""]

    async def reload() -> None:
        if problem := problems.pop(0):
            raise FleetwatchError(problem)

    server = await serve(reload=reload)
    async with server.session.post("/-/reload") as response:
        assert response.status == 500
        assert await response.text() == "failed to reload config: bad.yml:3: unknown key\n"
    async with server.session.put("/-/reload") as response:
        assert (response.status, await response.text()) == (200, "")
    async with server.session.get("/-/reload") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST, PUT")
    assert not problems


async def test_reload_is_off_without_a_callback(server: Server) -> None:
    async with server.session.post("/-/reload") as response:
        assert (response.status, await response.text()) == (403, "Lifecycle API is not enabled.\n")


async def test_own_metrics(server: Server) -> None:
    await server.data("labels")
    await server.get("label/job/values")
    async with server.session.get("/api/v1/query") as response:
        assert response.status == 400
    async with server.session.get("/no/such/page") as response:
        assert response.status == 404
    async with server.session.get("/metrics") as response:
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in parse_text(await response.text())
            for sample in family.samples
        }
    assert samples["fleetwatch_build_info", "1.2.3", "abc", "main"] == 1
    assert samples["fleetwatch_http_requests_total", "/api/v1/labels", "200"] == 1
    assert samples["fleetwatch_http_requests_total", "/api/v1/label/{name}/values", "200"] == 1
    assert samples["fleetwatch_http_requests_total", "/api/v1/query", "400"] == 1
    assert samples["fleetwatch_http_requests_total", "404", "unmatched"] == 1
    assert samples["fleetwatch_http_request_duration_seconds_count", "/api/v1/labels"] == 1
    assert samples[("process_cpu_seconds_total",)] > 0
    assert any(name.startswith("fleetwatch_tsdb_") for name, *_ in samples)


async def test_own_metrics_as_openmetrics(server: Server) -> None:
    headers = {"Accept": "application/openmetrics-text;version=1.0.0"}
    async with server.session.get("/metrics", headers=headers) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert (await response.text()).endswith("# EOF\n")
