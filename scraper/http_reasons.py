"""Why a request failed, in the words of Go's net/http: what users of Prometheus know from `lastError`.

Where the libraries here know less than Go's do, the words are those of the class of failure (docs/http-config.md).
"""

import os
import re
import socket
import ssl

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError

TIMEOUT = "context deadline exceeded"
CLOSED = "EOF"
"""The server closed the connection without a byte of an answer."""
CUT_OFF = "unexpected EOF"
BROKEN = "net/http: HTTP/1.x transport connection broken: "

_SHOWN_BYTES = 100
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_WRONG_TIME = (9, 10)
_WRONG_NAME = (62, 64)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ALERT = re.compile(r"ALERT_(\w+)")
_ALERTS = {"PROTOCOL_VERSION": "protocol version not supported", "UNKNOWN_CA": "unknown certificate authority"}
# What llhttp says of chunks, and net/http/internal.
_CHUNKS = {"Invalid character in chunk size": "invalid byte in chunk length"}


def of_client(error: Exception) -> str:
    """What aiohttp's client raised for a request without an answer."""
    match error:
        case aiohttp.ClientProxyConnectionError():
            return f"proxyconnect tcp: {of_dial(f'{error.host}:{error.port}', error.os_error)}"
        case UnixClientConnectorError():
            return f"dial unix {error.path}: connect: {of_system(error.os_error)}"
        case aiohttp.ClientConnectorDNSError():
            return of_lookup(error.host, error.os_error)
        case aiohttp.ClientSSLError() if isinstance(cause := error.__cause__, ssl.SSLError):
            return of_tls(cause, error.host)
        case aiohttp.ClientConnectorError():
            return of_dial(f"{error.host}:{error.port}", error.os_error) if error.os_error.errno else CLOSED
        case aiohttp.ClientResponseError() if isinstance(cause := error.__cause__, HttpProcessingError):
            return of_head(cause)
        case aiohttp.ServerDisconnectedError():
            return CLOSED
        case aiohttp.ClientHttpProxyError():
            return error.message
        case OSError():
            return of_system(error)
        case _:
            return str(error) or type(error).__name__


def of_body(error: Exception) -> str:
    """What aiohttp raised for a body that does not end well."""
    match error.__cause__ or error:
        case HttpProcessingError() as cause if "Not enough data" not in cause.message:
            return _CHUNKS.get(_first_line(cause), "malformed chunked encoding")
        case OSError() as cause:
            return f"read: {of_system(cause)}"
        case _:
            return CUT_OFF


def of_head(error: HttpProcessingError, answer: bytes = b"") -> str:
    """What a parser says of a head; `answer` is its beginning, where that is at hand."""
    if isinstance(error, BadStatusLine) and answer:
        line = answer.partition(b"\n")[0].removesuffix(b"\r")[:_SHOWN_BYTES]
        text = line.decode("ascii", "backslashreplace").replace('"', r"\"")
        shown = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
        return f'{BROKEN}malformed HTTP response "{shown}"'
    return BROKEN + _first_line(error)


def of_dial(address: str, error: OSError) -> str:
    """Why there is no connection to `host:port`."""
    return f"dial tcp {address}: connect: {of_system(error)}"


def of_lookup(host: str, error: OSError | UnicodeError) -> str:
    """Why a host's name has no address."""
    if isinstance(error, UnicodeError) or error.errno in (socket.EAI_NONAME, socket.EAI_NODATA, None):
        return f"dial tcp: lookup {host}: no such host"
    return f"dial tcp: lookup {host}: {error.strerror}"


def of_system(error: OSError) -> str:
    """What the system or OpenSSL says: as Go's, the system's texts begin with a small letter."""
    if isinstance(error, ssl.SSLError):
        return of_tls(error, "")
    text = os.strerror(error.errno) if error.errno else str(error) or CLOSED
    return text[:1].lower() + text[1:]


def of_tls(error: ssl.SSLError, host: str) -> str:
    """Why a handshake with `host` failed (crypto/tls, crypto/x509)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {_of_certificate(error, host)}"
    reason = error.reason or ""
    if alert := _ALERT.search(reason):
        return f"remote error: tls: {_ALERTS.get(alert[1], alert[1].replace('_', ' ').lower())}"
    if reason == "WRONG_VERSION_NUMBER":
        return "tls: first record does not look like a TLS handshake"
    return f"tls: {reason.replace('_', ' ').lower() or error}"


def _of_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return "certificate signed by unknown authority"
    if error.verify_code in _WRONG_TIME:
        return "certificate has expired or is not yet valid"
    if error.verify_code in _WRONG_NAME:
        return f"certificate is not valid for {host}"
    return error.verify_message


def _first_line(error: HttpProcessingError) -> str:
    return error.message.strip().partition("\n")[0].rstrip(":")
