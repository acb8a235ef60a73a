"""The fleet of containers: the compose file is one, its files are there, and Fleetwatch takes every command in it."""

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from common.labels import Labels
from fleetwatch.cli import app
from fleetwatch.config import check_config, load_config
from scraper.relabel import compile_rules, relabel
from tests.postgres import running
from tsdb.timescale.migrate import migrate

CONFIGS = Path(__file__).parents[2] / "configs"
COMPOSE: dict[str, Any] = yaml.safe_load((CONFIGS / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FLEETWATCH = [name for name, service in SERVICES.items() if service["image"] == "fleetwatch"]

# Of https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json, what is used here.
SERVICE_KEYS = {
    *("image", "build", "command", "environment", "secrets", "volumes", "ports", "healthcheck", "restart"),
    *("depends_on", "extra_hosts"),
}


def volumes(name: str) -> list[list[str]]:
    return [volume.split(":") for volume in SERVICES[name].get("volumes", ())]


def test_it_has_all_parts() -> None:
    assert set(COMPOSE) == {"name", "x-fleetwatch", "services", "secrets", "volumes"}
    assert FLEETWATCH == ["migrate", "scraper-1", "scraper-2", "server"]
    assert set(SERVICES) == {*FLEETWATCH, "database", "alertmanager", "grafana"}
    for service in SERVICES.values():
        assert set(service) <= SERVICE_KEYS


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", ())) <= set(SERVICES)
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    for source, target, *_ in volumes(name):
        assert target.startswith("/")
        if source.startswith("."):
            assert (CONFIGS / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", FLEETWATCH)
def test_fleetwatch_takes_its_command(name: str) -> None:
    command: Any = typer.main.get_command(app)
    context = command.make_context("fleetwatch", list(SERVICES[name]["command"]))
    while context._protected_args:  # the name of a command that follows
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(command.name, rest, parent=context)
    config = Path(context.params["config_file"])
    assert [["./fleet", str(config.parent), "ro"]] == [volume for volume in volumes(name) if volume[0] == "./fleet"]
    assert (CONFIGS / "fleet" / config.name).exists()


@pytest.mark.parametrize("file", ["migrate.yml", "server.yml", "scraper-1.yml", "scraper-2.yml"])
def test_the_configs_are_sound_and_their_secrets_are_given(file: str, tmp_path: Path) -> None:
    text = (CONFIGS / "fleet" / file).read_text()
    loaded = load_config(CONFIGS / "fleet" / file)
    (service,) = [name for name in FLEETWATCH if any(file in argument for argument in SERVICES[name]["command"])]
    password = Path(loaded.config.storage.timescaledb.password_file)
    assert (password.parent, [password.name]) == (Path("/run/secrets"), SERVICES[service]["secrets"])
    (tmp_path / password.name).write_text("secret")
    (tmp_path / "targets").symlink_to(CONFIGS / "fleet" / "targets")
    (tmp_path / file).write_text(text.replace("/run/secrets", str(tmp_path)))
    check_config(tmp_path / file)


def test_each_target_has_one_scraper() -> None:
    shards = []
    for number in (1, 2):
        job = load_config(CONFIGS / "fleet" / f"scraper-{number}.yml").config.scrape_configs[0]
        shards.append(compile_rules(job.relabel_configs))
    targets = [Labels.of(__address__=f"host-{number}:9100") for number in range(100)]
    takers = [[number for number, rules in enumerate(shards) if relabel(target, rules)] for target in targets]
    assert all(len(taken) == 1 for taken in takers)
    assert min(Counter(taken[0] for taken in takers).values()) > 30


def test_the_database_is_made_with_roles_that_suffice(tmp_path: Path) -> None:
    with running("timescale") as server:
        script = (CONFIGS / "fleet" / "database.sh").read_text().replace("/run/secrets", str(tmp_path))
        for name in COMPOSE["secrets"]:
            (tmp_path / name).write_text(f"of-{name}")
        environment = os.environ | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PATH": f"{server.bin}:{os.environ['PATH']}",
        }
        subprocess.run(["sh", "-c", script], env=environment, check=True, capture_output=True)
        owner = server.dsn("fleetwatch", "fleetwatch_admin", "of-owner")
        writer = server.dsn("fleetwatch", "fleetwatch", "of-fleetwatch")
        migrate(owner)
        server.sql("INSERT INTO fleetwatch_data.meta VALUES ('written by', 'writer')", dsn=writer)
        (powers,) = server.sql(
            "SELECT array_agg(rolname) FROM pg_roles WHERE rolcanlogin AND (rolsuper OR rolcreaterole OR rolcreatedb)"
        )
        assert powers == (["postgres"],)
        ((jit,),) = server.sql("SHOW jit", dsn=writer)
        assert jit == "off"
