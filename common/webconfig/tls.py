"""From `tls_server_config` to an SSL context of Python's ssl module.

What OpenSSL under Python cannot express is done as strictly as it can be: TLS 1.0 and 1.1 are never spoken, a
required client certificate is always verified, and of several curves the first is the only one (docs/web-config.md).
"""

import contextlib
import ipaddress
import os
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.webconfig.schema import TLSServerConfig
from common.yamlfile import Problem


@dataclass(frozen=True, slots=True)
class _PEM:
    """PEM text with the key it came from, and what to call it in messages."""

    key_path: str
    name: str
    data: bytes


def server_context(tls: TLSServerConfig, directory: Path) -> tuple[ssl.SSLContext, list[Problem]]:
    """A context, to be used only when there are no problems; relative files start at `directory`.

    Takes milliseconds; reads the files.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    problems: list[Problem] = []
    _restrict(context, tls)
    cert, key, client_ca = (
        _read(text, file, name, directory, problems)
        for text, file, name in (
            (tls.cert, tls.cert_file, "cert"),
            (tls.key, tls.key_file, "key"),
            (tls.client_ca, tls.client_ca_file, "client_ca"),
        )
    )
    if cert is not None and key is not None:
        problems.extend(_use_certificate(context, cert, key))
    if tls.client_auth_type.meaning != "CERT_NONE":
        if client_ca is not None:
            problems.extend(_trust(context, client_ca))
        elif not (tls.client_ca or tls.client_ca_file):
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.VerifyMode[tls.client_auth_type.meaning]
        # As in Go, whatever stands in the CA file is trusted, an intermediate certificate too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.client_allowed_sans is not None:
        context.sslobject_class = _admitting(frozenset(tls.client_allowed_sans))
    return context, problems


def _restrict(context: ssl.SSLContext, tls: TLSServerConfig) -> None:
    """Versions, cipher suites and curves."""
    context.minimum_version = ssl.TLSVersion[tls.min_version.meaning or "TLSv1_2"]
    context.maximum_version = ssl.TLSVersion[tls.max_version.meaning or "TLSv1_2"]
    context.options |= ssl.OP_NO_RENEGOTIATION
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    suites = [suite.meaning for suite in tls.cipher_suites if suite.meaning]
    if suites:
        context.set_ciphers(":".join(suites))
    elif tls.cipher_suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if tls.curve_preferences:
        context.set_ecdh_curve(tls.curve_preferences[0].meaning)


def _read(text: str, file: str, name: str, directory: Path, problems: list[Problem]) -> _PEM | None:
    """What a file or the inline text holds; None where neither is given, or after a problem."""
    if not file:
        return _PEM(f"tls_server_config.{name}", "the text", text.encode()) if text else None
    key_path, path = f"tls_server_config.{name}_file", directory / file
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(Problem(key_path, f"{path} cannot be read ({error.strerror}): name a PEM file that can"))
        return None
    return _PEM(key_path, str(path), data)


def _use_certificate(context: ssl.SSLContext, cert: _PEM, key: _PEM) -> Iterator[Problem]:
    """Load the certificate chain and its key, or say which of both is at fault."""
    cert_problems = list(_trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert))
    yield from cert_problems
    if b"ENCRYPTED" in key.data:
        yield Problem(
            key.key_path, f"{key.name} is an encrypted key: decrypt it with `openssl pkey -in KEY -out PLAIN_KEY`"
        )
    elif not cert_problems:
        with _as_file(cert.data) as cert_file, _as_file(key.data) as key_file:
            try:
                context.load_cert_chain(cert_file, key_file)
            except ssl.SSLError as error:
                yield _refusal(error.reason or "", cert, key)


def _refusal(reason: str, cert: _PEM, key: _PEM) -> Problem:
    # Keys of different kinds: OpenSSL looks for a certificate of the key's kind, and there is none.
    if reason.endswith("_MISMATCH") or reason == "NO_CERTIFICATE_ASSIGNED":
        return Problem(
            key.key_path,
            f"{key.name} does not belong to the certificate of {cert.key_path}: give the key it was made with",
        )
    if reason.endswith(("_TOO_SMALL", "_TOO_WEAK")):
        return Problem(
            cert.key_path,
            f"OpenSSL refuses {cert.name} as too weak ({reason}): make one with RSA 2048 or P-256 and SHA-256",
        )
    return Problem(key.key_path, f"{key.name} is not a whole PEM private key: give the file the CA or openssl wrote")


def _trust(context: ssl.SSLContext, pem: _PEM) -> Iterator[Problem]:
    try:
        context.load_verify_locations(cadata=pem.data.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        yield Problem(
            pem.key_path, f"{pem.name} is not a whole PEM certificate: give -----BEGIN CERTIFICATE----- blocks"
        )


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path from which `data` can be read, in memory where the system can."""
    # OpenSSL under Python loads a key from files only.
    with os.fdopen(os.memfd_create("pem"), "w+b") if sys.platform == "linux" else tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _admitting(allowed: frozenset[str]) -> type[ssl.SSLObject]:
    """Connections whose handshake fails unless the client certificate has one of the allowed alternative names."""

    class Admitting(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            if allowed.isdisjoint(_alternative_names(self)):
                raise ssl.SSLCertVerificationError(1, "the client certificate has no allowed alternative name")

    return Admitting


def _alternative_names(connection: ssl.SSLObject) -> Iterator[str]:
    """The client certificate's DNS names, e-mail addresses, IP addresses and URIs."""
    certificate: dict[str, Any] = connection.getpeercert() or {}
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            yield str(ipaddress.ip_address(name))
        elif kind in ("DNS", "email", "URI"):
            yield name


def connections_by(current: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context for a listener that gives each new connection the context that is then current.

    asyncio and uvloop make their connections with `wrap_bio` of the context the listener was started with.
    """

    class Current(ssl.SSLContext):
        def wrap_bio(
            self,
            incoming: ssl.MemoryBIO,
            outgoing: ssl.MemoryBIO,
            server_side: bool = False,
            server_hostname: str | bytes | None = None,
            session: ssl.SSLSession | None = None,
        ) -> ssl.SSLObject:
            return current().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    return Current(ssl.PROTOCOL_TLS_SERVER)
