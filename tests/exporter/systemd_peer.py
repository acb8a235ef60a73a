"""A message bus with systemd on it, as far as the collector and node_exporter talk to them.

It speaks D-Bus over a unix socket: the handshake here, the messages through jeepney. On the bus a client first says
Hello; on systemd's private socket it does not, and need not.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jeepney import HeaderFields, Message, MessageType, Parser, new_error, new_method_return

MANAGER = "/org/freedesktop/systemd1"
_PREFIX = "org.freedesktop.systemd1"
UNIT_SIGNATURE = "a(ssssssouso)"
# D-Bus types of the properties, by their names.
TYPES = {
    "Version": "s",
    "Virtualization": "s",
    "SystemState": "s",
    "Type": "s",
    "NRestarts": "u",
    "TasksCurrent": "t",
    "TasksMax": "t",
    "LastTriggerUSec": "t",
    "NAccepted": "u",
    "NConnections": "u",
    "NRefused": "u",
    "ActiveEnterTimestamp": "t",
}


@dataclass
class Systemd:
    """The state of systemd: its own properties, and units by name with what ListUnits says and their properties.

    What can be wrong with it: it knows no units, it closes the connection or says nothing when called.
    """

    manager: dict[str, Any]
    units: dict[str, tuple[str, str]]
    properties: Mapping[str, dict[str, Any]]
    calls: list[str] = field(default_factory=list)
    knows_units: bool = True
    hangs_up: bool = False
    is_silent: bool = False

    def answer(self, message: Message) -> Message:
        """The reply to a method call."""
        fields = message.header.fields
        member, path = fields[HeaderFields.member], fields[HeaderFields.path]
        self.calls.append(member)
        if member == "Hello":
            return new_method_return(message, "s", (":1.7",))
        if member == "ListUnits" and self.knows_units:
            return new_method_return(message, UNIT_SIGNATURE, (self._listed(),))
        if member == "Get":
            interface, name = message.body
            properties = self.manager if path == MANAGER else self._unit_properties(path)
            if interface.startswith(_PREFIX) and name in properties:
                return new_method_return(message, "v", ((TYPES[name], properties[name]),))
        return new_error(message, "org.freedesktop.DBus.Error.UnknownProperty", "s", (f"no {member} here",))

    def _listed(self) -> list[tuple[Any, ...]]:
        return [
            (name, f"about {name}", load, active, "sub", "", unit_path(name), 0, "", "/")
            for name, (load, active) in self.units.items()
        ]

    def _unit_properties(self, path: str) -> dict[str, Any]:
        return next((known for name, known in self.properties.items() if unit_path(name) == path), {})


def unit_path(name: str) -> str:
    """The object path of a unit, as sd_bus_path_encode(3) escapes its name."""
    return f"{MANAGER}/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)


@contextlib.contextmanager
def listening(path: Path, systemd: Systemd) -> Iterator[None]:
    """Serve at the socket until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=_accept, args=(server, systemd))
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _accept(server: socket.socket, systemd: Systemd) -> None:
    clients: list[threading.Thread] = []
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            break
        clients.append(threading.Thread(target=_serve, args=(connection, systemd)))
        clients[-1].start()
    for client in clients:
        client.join(10)


def _serve(connection: socket.socket, systemd: Systemd) -> None:
    with connection, contextlib.suppress(ConnectionError):
        parser = Parser()
        parser.add_data(_shake_hands(connection))
        serial = 0
        while True:
            while (message := parser.get_next_message()) is not None:
                if systemd.hangs_up:
                    return
                if message.header.message_type is MessageType.method_call and not systemd.is_silent:
                    serial += 1
                    connection.sendall(systemd.answer(message).serialise(serial))
            data = connection.recv(65536)
            if not data:
                return
            parser.add_data(data)


def _shake_hands(connection: socket.socket) -> bytes:
    """The D-Bus specification's "Authentication Protocol"; what came after its end is returned."""
    buffer = b""
    while True:
        line, separator, rest = buffer.partition(b"\r\n")
        if not separator:
            data = connection.recv(4096)
            if not data:
                raise ConnectionResetError("the client left during the handshake")
            buffer += data
            continue
        buffer = rest
        words = line.lstrip(b"\0").split()
        if words == [b"BEGIN"]:
            return buffer
        if words[:2] == [b"AUTH", b"EXTERNAL"]:
            connection.sendall(b"OK 1234deadbeef1234deadbeef12345678\r\n")
        elif words == [b"NEGOTIATE_UNIX_FD"]:
            connection.sendall(b"AGREE_UNIX_FD\r\n")
        else:
            connection.sendall(b"REJECTED EXTERNAL\r\n")
