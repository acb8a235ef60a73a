"""What a web config file may hold: its keys with their types and defaults, and what types alone cannot say."""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Self

import msgspec

from common.yamlfile import Problem


class _Name(str):
    """Text that must be one of the names that `meanings` knows."""

    kind: ClassVar[str]
    meanings: ClassVar[Mapping[str, str]]

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Raises ValueError."""
        if text not in cls.meanings:
            raise ValueError(f'unknown {cls.kind} "{text}": write one of {", ".join(filter(None, cls.meanings))}')
        return cls(text)

    @property
    def meaning(self) -> str:
        """The name that Python's ssl module knows, or what the name stands for."""
        return self.meanings[self]


class CipherSuite(_Name):
    """A cipher suite by the name that Go's crypto/tls gives it, to OpenSSL's; "" for those of TLS 1.3."""

    kind = "cipher suite"
    meanings: ClassVar[Mapping[str, str]] = {
        "TLS_AES_128_GCM_SHA256": "",
        "TLS_AES_256_GCM_SHA384": "",
        "TLS_CHACHA20_POLY1305_SHA256": "",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    }


class Curve(_Name):
    """An elliptic curve, to OpenSSL's name."""

    kind = "curve"
    meanings: ClassVar[Mapping[str, str]] = {
        "CurveP256": "prime256v1",
        "CurveP384": "secp384r1",
        "CurveP521": "secp521r1",
        "X25519": "X25519",
    }


class Version(_Name):
    """A TLS version, to its name in ssl.TLSVersion; TLS 1.0 and 1.1 (RFC 8996 retired them) count as below 1.2."""

    kind = "TLS version"
    meanings: ClassVar[Mapping[str, str]] = {"TLS13": "TLSv1_3", "TLS12": "TLSv1_2", "TLS11": "", "TLS10": ""}


class ClientAuth(_Name):
    """A client certificate policy, to its name in ssl.VerifyMode.

    OpenSSL under Python cannot take a certificate without verifying it. A certificate that is asked for and not
    verified decides nothing, so it is not asked for; one that is required is verified as well.
    """

    kind = "client_auth_type"
    meanings: ClassVar[Mapping[str, str]] = {
        "": "CERT_NONE",
        "NoClientCert": "CERT_NONE",
        "RequestClientCert": "CERT_NONE",
        "RequireAnyClientCert": "CERT_REQUIRED",
        "RequireClientCert": "CERT_REQUIRED",  # an older name of RequireAnyClientCert
        "VerifyClientCertIfGiven": "CERT_OPTIONAL",
        "RequireAndVerifyClientCert": "CERT_REQUIRED",
    }


class Interval(float):
    """Seconds, written as a Go duration (`1m30s`, `1.5s`) or as whole nanoseconds."""

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Raises ValueError. Grammar: Go's time.ParseDuration."""
        units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
        if re.fullmatch(r"[-+]?\d+", text):
            return cls(int(text) * 1e-9)
        number = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
        if not re.fullmatch(rf"[-+]?({number})+", text):
            raise ValueError(f'"{text}" is no duration: write one like 500ms, 1s or 1m30s, and 0 for no limit')
        seconds = sum(float(count) * units[unit] for count, unit in re.findall(number, text))
        return cls(-seconds if text[0] == "-" else seconds)


class TLSServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server's certificate and how connections are made. Where both are given, a file wins over inline text."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: ClientAuth = ClientAuth("")
    client_allowed_sans: list[str] | None = None
    min_version: Version = Version("TLS12")
    max_version: Version = Version("TLS13")
    cipher_suites: list[CipherSuite] = []
    prefer_server_cipher_suites: bool = True
    curve_preferences: list[Curve] = []

    @property
    def enabled(self) -> bool:
        """Whether TLS is spoken at all; options alone do not switch it on."""
        return any(
            (self.cert, self.cert_file, self.key, self.key_file, self.client_ca, self.client_ca_file,
             self.client_auth_type)
        )  # fmt: skip

    @property
    def files(self) -> list[str]:
        """The files that it names."""
        return [name for name in (self.cert_file, self.key_file, self.client_ca_file) if name]


class HTTPServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is added to responses. `http2` is read and has no effect: aiohttp serves HTTP/1.1."""

    http2: bool = True
    headers: dict[str, str] = {}


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token bucket: a token every `interval`, at most `burst` of them; no limit without an interval."""

    interval: Interval = Interval(0)
    burst: int = 0


class WebConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: TLSServerConfig = TLSServerConfig()
    http_server_config: HTTPServerConfig = HTTPServerConfig()
    basic_auth_users: dict[str, str] = {}
    rate_limit: RateLimit = RateLimit()


# The form of crypt(3); `$2y$` is what htpasswd writes.
BCRYPT_HASH = re.compile(r"\$2[abxy]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")

_NULL = "tag:yaml.org,2002:null"

# The headers that can be set, and their values where only some make sense.
HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}


def problems(file: WebConfigFile, text: str) -> Iterator[Problem]:
    """What is wrong in a file whose keys and types are right; `text` is what it was read from."""
    for name, value in file.http_server_config.headers.items():
        where = f"http_server_config.headers.{name}"
        if name not in HEADERS:
            yield Problem(where, f"this header cannot be set: only {', '.join(HEADERS)} can")
        elif HEADERS[name] and value not in HEADERS[name]:
            yield Problem(where, f'"{value}" has no meaning here: write {" or ".join(HEADERS[name])}')
    for user, password_hash in file.basic_auth_users.items():
        if not BCRYPT_HASH.fullmatch(password_hash):  # not shown: who reads a log need not see it
            yield Problem(
                f"basic_auth_users.{user}",
                "is no bcrypt hash ($2b$, a cost of 04 to 31, $, 53 characters): make one with `htpasswd -nBC 10 USER`",
            )
    # Keys without a value count as not given in our files. A user without a hash must not mean no users, no password.
    for user in _users_without_hash(text):
        yield Problem(f"basic_auth_users.{user}", "has no bcrypt hash: make one with `htpasswd -nBC 10 USER`")
    if file.rate_limit.interval > 0 and file.rate_limit.burst < 1:
        yield Problem("rate_limit.burst", "every request would be refused: allow at least 1")
    if file.tls_server_config.enabled:
        yield from _tls_problems(file.tls_server_config)


def _users_without_hash(text: str) -> Iterator[str]:
    import yaml  # a process without a web config does without its memory

    root = yaml.compose(text, yaml.CSafeLoader)
    for key, users in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "basic_auth_users" and isinstance(users, yaml.MappingNode):
            yield from (user.value for user, password_hash in users.value if password_hash.tag == _NULL)


def _tls_problems(tls: TLSServerConfig) -> Iterator[Problem]:
    if not (tls.cert or tls.cert_file):
        yield Problem("tls_server_config", "has no certificate: give cert_file or cert")
    if not (tls.key or tls.key_file):
        yield Problem("tls_server_config", "has no private key: give key_file or key")
    if (tls.client_ca or tls.client_ca_file) and tls.client_auth_type in ("", "NoClientCert"):
        yield Problem(
            f"tls_server_config.{'client_ca_file' if tls.client_ca_file else 'client_ca'}",
            "is of no use while no client certificate is asked for: set client_auth_type: RequireAndVerifyClientCert",
        )
    if tls.client_allowed_sans is not None and tls.client_auth_type.meaning != "CERT_REQUIRED":
        yield Problem(
            "tls_server_config.client_allowed_sans",
            "a client without a certificate would get in: set client_auth_type: RequireAndVerifyClientCert",
        )
    if not tls.max_version.meaning:
        yield Problem("tls_server_config.max_version", f"{tls.max_version} is not served: write TLS12 or TLS13")
    elif tls.min_version == "TLS13" and tls.max_version == "TLS12":
        yield Problem("tls_server_config.min_version", "is above max_version: no client could connect")
    if tls.cipher_suites and not any(suite.meaning for suite in tls.cipher_suites) and tls.max_version == "TLS12":
        yield Problem("tls_server_config.cipher_suites", "has none for TLS 1.2: add one that begins with TLS_ECDHE_")
