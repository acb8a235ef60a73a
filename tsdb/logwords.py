"""What a word is in the full-text search of logs: the same for every store.

A word is a run of letters and digits, whatever its case, as SQLite's unicode61 tokenizer cuts them
(https://www.sqlite.org/fts5.html#unicode61_tokenizer).
"""

import re

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    return _WORD.findall(text.lower())
