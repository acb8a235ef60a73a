"""The protobuf wire format: varints, and the fields of a message by their numbers.

Source: https://protobuf.dev/programming-guides/encoding/. No message type is known here. Lengths are checked against
the message that holds the field, so that no field reaches beyond it.
"""

from collections.abc import Mapping

from exposition.errors import WireError

VARINT, FIXED64, BYTES = range(3)
FIXED32 = 5
"""Wire types; those of groups are not read."""

MAX_VARINT_BYTES = 10


def read_varint(body: bytes, start: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit number at `start` and where it ends. Raises WireError."""
    number = 0
    for position in range(start, min(end, start + MAX_VARINT_BYTES)):
        byte = body[position]
        number |= (byte & 0x7F) << 7 * (position - start)
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, position + 1
    if end - start < MAX_VARINT_BYTES:
        raise WireError("the message ends within a number", end)
    raise WireError(f"a number has more than {MAX_VARINT_BYTES} bytes", start)


def read_fields(body: bytes, start: int, end: int, types: Mapping[int, int]) -> list[tuple[int, int, int, int]]:
    """The fields of the message from `start` to `end`: (number, wire type, start, end of the payload).

    The payload of a varint is the varint itself, of bytes what follows their length. `types` has the wire types of
    the numbers that are known. Raises WireError.
    """
    fields = []
    position = start
    while position < end:
        tag = body[position]
        position += 1
        if tag >= 0x80:
            tag, position = read_varint(body, position - 1, end)
        number = tag >> 3
        wire_type = tag & 7
        if wire_type == BYTES:
            # Most lengths are below 128. One that is missing is taken from what follows, and the check below fails.
            length = body[position] if position < end else 1
            position += 1
            if length >= 0x80:
                length, position = read_varint(body, position - 1, end)
            stop = position + length
        elif wire_type == FIXED64:
            stop = position + 8
        elif wire_type == VARINT:
            stop = position + 1
            if position == end or body[position] >= 0x80:
                _, stop = read_varint(body, position, end)
        elif wire_type == FIXED32:
            stop = position + 4
        else:
            raise WireError(f"expected a field, found wire type {wire_type}", position)
        if stop > end:
            raise WireError(f"field {number} ends {stop - end} bytes behind its message", position)
        if not number or types.get(number, wire_type) != wire_type:
            raise WireError(f"field {number} has wire type {wire_type}, expected {types.get(number)}", position)
        fields.append((number, wire_type, position, stop))
        position = stop
    return fields
