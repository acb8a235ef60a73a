"""Certificates for tests, made with the openssl command."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.components import require

Arguments = Sequence[str | Path]

P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


@dataclass(frozen=True)
class Pair:
    """A PEM certificate and its key."""

    cert: Path
    key: Path


class Authority(Pair):
    """A certificate authority."""

    def issue(self, directory: Path, name: str, alternative_names: str, new_key: Arguments = P256) -> Pair:
        """A certificate with alternative names as openssl spells them (`DNS:localhost,IP:127.0.0.1`)."""
        signed_by: Arguments = ["-CA", self.cert, "-CAkey", self.key, "-addext", f"subjectAltName={alternative_names}"]
        return Pair(*_request(directory, name, [*new_key, *signed_by, "-addext", "basicConstraints=critical,CA:FALSE"]))


def make_authority(directory: Path, name: str) -> Authority:
    return Authority(*_request(directory, name, P256))


def _request(directory: Path, name: str, more: Arguments) -> tuple[Path, Path]:
    openssl = require("openssl")
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    command: Arguments = [openssl, "req", "-x509", "-nodes", "-days", "30", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-keyout", key, "-out", cert, *more], check=True, capture_output=True)
    return cert, key
