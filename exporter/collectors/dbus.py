"""Method calls over D-Bus, on a unix socket: of a message bus, or of a service that speaks it directly.

jeepney knows the handshake and the messages, this the socket: calls are sent many at a time, as a round trip for each
of hundreds of units takes long. Imported by those alone who use it.
"""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, new_method_call
from jeepney.auth import BEGIN, Authenticator
from jeepney.bus_messages import message_bus

_AT_ONCE = 100
"""So many calls and their replies fit into the buffers of a socket, so that neither side waits for the other."""
_RECEIVE_BYTES = 65536


class Connection:
    """A connection that ends with the block. Raises OSError, TimeoutError included, and ValueError if not let in.

    `is_bus` is whether a message bus is at the path, which wants to be greeted, or a service itself.
    """

    def __init__(self, path: Path, timeout_s: float, *, is_bus: bool) -> None:
        self._path = path
        self._parser = Parser()
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
            self._shake_hands()
            if is_bus:
                self._exchange([message_bus.Hello()])
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def call(self, address: DBusAddress, method: str) -> tuple[Any, ...]:
        """What a method without arguments returns. Raises RuntimeError with the error that came back."""
        (reply,) = self._exchange([new_method_call(address, method)])
        if reply.header.message_type is MessageType.error:
            name = reply.header.fields[HeaderFields.error_name]
            raise RuntimeError(f"D-Bus: {method} of {address.bus_name} failed: {name} {reply.body}")
        return tuple(reply.body)

    def properties(self, wanted: Sequence[tuple[DBusAddress, str]]) -> list[Any]:
        """The values of properties, in order; None for what the object has not."""
        calls = [
            new_method_call(address.with_interface("org.freedesktop.DBus.Properties"), "Get", "ss", body)
            for address, name in wanted
            for body in [(address.interface, name)]
        ]
        values: list[Any] = []
        for start in range(0, len(calls), _AT_ONCE):
            for reply in self._exchange(calls[start : start + _AT_ONCE]):
                # A property is a variant: its type, its value.
                is_value = reply.header.message_type is MessageType.method_return
                values.append(reply.body[0][1] if is_value else None)
        return values

    def _shake_hands(self) -> None:
        authenticator = Authenticator()
        for line in authenticator:
            self._socket.sendall(line)
            authenticator.feed(self._receive())
        self._socket.sendall(BEGIN)

    def _exchange(self, calls: Sequence[Message]) -> list[Message]:
        """The replies to the calls in their order, which need not be the one in which they come."""
        first = self._serial + 1
        self._serial += len(calls)
        self._socket.sendall(b"".join(call.serialise(first + number) for number, call in enumerate(calls)))
        replies: dict[int, Message] = {}
        for message in self._messages():
            number = message.header.fields.get(HeaderFields.reply_serial, 0) - first
            if 0 <= number < len(calls):  # And no signal, which a bus sends when it likes.
                replies[number] = message
                if len(replies) == len(calls):
                    break
        return [replies[number] for number in range(len(calls))]

    def _messages(self) -> Iterator[Message]:
        while True:
            while (message := self._parser.get_next_message()) is not None:
                yield message
            self._parser.add_data(self._receive())

    def _receive(self) -> bytes:
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError(f"D-Bus: the other side of {self._path} has closed the connection")
        return data
