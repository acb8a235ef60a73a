"""Which texts are URLs to Prometheus: the rules of Go's url.Parse, which are not quite those of RFC 3986."""

import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(:[0-9]*)?")
_NO_HOST_CHARACTER = re.compile(r"[^A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]")
# In a host only bytes beyond ASCII may be escaped.
_BAD_HOST_ESCAPE = re.compile(r"%(?!25|[89A-Fa-f][0-9A-Fa-f])")


def url_problem(text: str) -> str | None:
    """Why the text is no URL, None where it is one. A relative one, or one of an unknown scheme, is a URL too."""
    if _CONTROL.search(text):
        return "it has a control character"
    text, _, fragment = text.partition("#")
    if _BAD_ESCAPE.search(fragment):
        return "it has a % that is not followed by two hex digits"
    if text.startswith(":"):
        return "the scheme before the colon is missing"
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() if scheme else 0 :].partition("?")[0]
    if not rest.startswith("/"):
        if scheme:
            return None
        if ":" in rest.partition("/")[0]:
            return "the part before the first colon is not a scheme: write it like http://host:port"
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        if reason := _authority_problem(authority):
            return reason
    return "it has a % that is not followed by two hex digits" if _BAD_ESCAPE.search(rest) else None


def _authority_problem(authority: str) -> str | None:
    userinfo, _, host = authority.rpartition("@")
    if not _USERINFO.fullmatch(userinfo) or _BAD_ESCAPE.search(userinfo):
        return "user name and password have characters that must be escaped"
    if host.startswith("["):
        address, bracket, port = host.rpartition("]")
        if not bracket:
            return "the ] of an IPv6 address is missing"
    else:
        address, colon, number = host.rpartition(":")
        port = colon + number
        address = address if colon else host
    if not _PORT.fullmatch(port if port.startswith(":") or host.startswith("[") else ""):
        return f"{port!r} is not a port"
    if character := _NO_HOST_CHARACTER.search(host) or _BAD_HOST_ESCAPE.search(host):
        return f"{character[0]!r} cannot be in a host name"
    return None
