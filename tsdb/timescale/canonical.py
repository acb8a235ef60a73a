"""Label sets and texts as the database keeps them.

A label set is found by the SHA-256 of its canonical bytes: names and values in UTF-8 with 0xFF, which UTF-8 never has,
in between. PostgreSQL's text has neither NUL nor lone surrogates: where a set has one, its canonical bytes are kept
beside it, and the text has U+FFFD instead.
"""

import hashlib
import re
from dataclasses import dataclass

import orjson

from common.labels import Labels

_SEPARATOR = b"\xff"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_BYTES = re.compile(b"\x00|\xed[\xa0-\xbf]")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The columns of a label set; `json` text for jsonb, `raw` where that does not say it all."""

    hash: bytes
    json: str
    raw: bytes | None


def label_row(labels: Labels) -> LabelRow:
    """The columns of a label set."""
    key = canonical(labels)
    storable = _UNSTORABLE_BYTES.search(key) is None
    pairs = dict(labels) if storable else {clean(name): clean(value) for name, value in labels}
    return LabelRow(hashlib.sha256(key).digest(), orjson.dumps(pairs).decode(), None if storable else key)


def canonical(labels: Labels) -> bytes:
    """The bytes that identify a label set."""
    return _SEPARATOR.join([text.encode("utf-8", "surrogatepass") for pair in labels for text in pair])


def labels_of(raw: bytes) -> Labels:
    """The label set of its canonical bytes."""
    if not raw:
        return Labels()
    texts = [part.decode("utf-8", "surrogatepass") for part in raw.split(_SEPARATOR)]
    return Labels(zip(texts[::2], texts[1::2], strict=True))


def clean(text: str) -> str:
    """A text that PostgreSQL takes."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def clean_map(texts: dict[str, str]) -> dict[str, str]:
    """The same for names and values."""
    return {clean(name): clean(value) for name, value in texts.items()}
