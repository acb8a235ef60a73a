"""Flags and the YAML file say the same; flags win."""

from pathlib import Path

import pytest

from common.yamlfile import ConfigError
from exporter.errors import ExporterError
from exporter.settings import ExporterSettings, PathSettings, WebSettings
from fleetwatch.exporter_cli import parser, settings_of


def parsed(*arguments: str, file: Path | None = None) -> ExporterSettings:
    flags = vars(parser().parse_args(arguments))
    given = {key: value for key, value in flags.items() if value is not None and not key.startswith(("log.", "config"))}
    return settings_of(file, given)


def test_without_flags_the_settings_are_the_defaults() -> None:
    assert parsed() == ExporterSettings()


def test_flags_as_node_exporter_spells_them() -> None:
    settings = parsed(
        "--web.listen-address=:9101",
        "--web.listen-address=[::1]:9102",
        "--web.telemetry-path=/m",
        "--web.config.file=web.yml",
        "--web.max-requests=0",
        "--web.disable-exporter-metrics",
        "--path.procfs=/host/proc",
        "--path.sysfs=/host/sys",
        "--path.rootfs=/host",
        "--path.udev.data=/host/udev",
        "--collector.deadline=250ms",
        "--collector.disable-defaults",
        "--collector.cpu",
        "--no-collector.time",
    )

    assert settings.web == WebSettings(
        listen_address=(":9101", "[::1]:9102"),
        telemetry_path="/m",
        config_file="web.yml",
        max_requests=0,
        disable_exporter_metrics=True,
    )
    assert settings.path == PathSettings(procfs="/host/proc", sysfs="/host/sys", rootfs="/host", udev_data="/host/udev")
    assert settings.collector_deadline == 250
    assert (settings.is_enabled("cpu"), settings.is_enabled("time"), settings.is_enabled("stat")) == (
        True,
        False,
        False,
    )


def test_the_file_says_the_same_and_flags_win(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yml"
    file.write_text(
        "web: {max_requests: 3, telemetry_path: /m}\n"
        "path:\n"
        "collector_deadline: 2s\n"
        "collectors: {cpu: {enabled: false}, uname: {enabled: false}}\n"
    )
    settings = parsed("--web.max-requests=5", "--collector.cpu", "--path.procfs=/p", file=file)

    assert settings.web == WebSettings(max_requests=5, telemetry_path="/m")
    assert settings.path.procfs == "/p"
    assert settings.collector_deadline == 2000
    assert (settings.is_enabled("cpu"), settings.is_enabled("uname"), settings.is_enabled("stat")) == (
        True,
        False,
        True,
    )


def test_everything_wrong_in_a_file_is_said_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yml"
    file.write_text("web: {max_requests: many}\ncollectors:\n  cpu: {enabled: true}\n  cpx: {enabled: true}\n")

    with pytest.raises(ConfigError) as raised:
        parsed(file=file)
    text = str(raised.value)
    assert f"{file}:1: web.max_requests" in text
    assert f"{file}:4: collectors.cpx" in text


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--collector.cpx", "unrecognized arguments: --collector.cpx"),
        ("--collector.deadline=soon", 'argument --collector.deadline: not a valid duration string: "soon"'),
        ("--web.max-requests=x", "argument --web.max-requests: invalid int value: 'x'"),
    ],
)
def test_a_wrong_flag_is_refused(flag: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(flag)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--collector.filesystem.mount-points-exclude=(", "--collector.netdev.device-include=("]
)
def test_a_pattern_that_is_no_regular_expression_is_refused(flag: str) -> None:
    with pytest.raises(ExporterError, match=r"options of the collector \w+ cannot be used: .*'\('"):
        parsed(flag).registry("linux")
