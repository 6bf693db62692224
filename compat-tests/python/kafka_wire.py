"""Kafka's protocol without a client library: requests and answers as dictionaries, by the field tables in
`fixtures/kafka/messages`. For what no library lets one send, and for answers field by field."""

import pathlib
import socket
import struct
import uuid

TABLES = pathlib.Path(__file__).resolve().parents[2] / "fixtures" / "kafka" / "messages"
NUMBERS = {"bool": "?", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint16": "H", "float64": "d"}
NOBODY = uuid.UUID(int=0)


def within(versions, version):
    """Whether `5+`, `0-4` or `7` holds the version."""
    if versions in ("-", "none"):
        return False
    first, dash, last = versions.partition("-")
    if first.endswith("+"):
        return version >= int(first[:-1])
    return int(first) <= version <= int(last if dash else first)


class Field:
    def __init__(self, columns):
        name, self.kind, self.versions, self.nullable, tag, default, _ = columns
        self.name = name.lstrip(".")
        self.depth = len(name) - len(self.name)
        self.tag = None if tag == "-" else int(tag)
        self.default = default
        self.fields = []

    def zero(self):
        if self.kind.startswith("[]"):
            return None if self.default == "null" else []
        if self.kind in NUMBERS:
            text = {"-": "0", "false": "0", "true": "1"}.get(self.default, self.default)
            return float(text) if self.kind == "float64" else int(text, 0)
        if self.default == "null":
            return None
        return {"string": "", "bytes": b"", "records": b"", "uuid": NOBODY}.get(self.kind, {})


class Message:
    def __init__(self, name):
        head, *lines = (TABLES / f"{name}.tsv").read_text().splitlines()
        _, key, _, flexible = head.split("\t")
        self.key, self.flexible, self.fields = int(key), flexible, []
        path = []
        for field in (Field(line.split("\t")) for line in lines):
            del path[field.depth :]
            (path[-1].fields if path else self.fields).append(field)
            path.append(field)

    def encode(self, body, version):
        return Writer(version, within(self.flexible, version)).structure(self.fields, body)

    def decode(self, data, version):
        reader = Reader(data, version, within(self.flexible, version))
        answer = reader.structure(self.fields)
        assert not reader.rest, f"{len(reader.rest)} bytes too many"
        return answer


def uvarint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


class Writer:
    def __init__(self, version, flexible):
        self.version, self.flexible = version, flexible

    def length(self, number, width):
        return uvarint(number + 1) if self.flexible else struct.pack(">h" if width == 2 else ">i", number)

    def structure(self, fields, body):
        body, out, tagged = dict(body), b"", []
        for field in (field for field in fields if within(field.versions, self.version)):
            given = field.name in body
            value = body.pop(field.name) if given else field.zero()
            if field.tag is None:
                out += self.value(field.kind, field, value)
            elif given:
                value = self.value(field.kind, field, value)
                tagged.append(uvarint(field.tag) + uvarint(len(value)) + value)
        assert not body, f"version {self.version} has no {body}"
        return out + uvarint(len(tagged)) + b"".join(tagged) if self.flexible else out

    def value(self, kind, field, value):
        if kind.startswith("[]"):
            if value is None:
                return self.length(-1, 4)
            return self.length(len(value), 4) + b"".join(self.value(kind[2:], field, one) for one in value)
        if kind in NUMBERS:
            return struct.pack(">" + NUMBERS[kind], value)
        if kind == "uuid":
            return value.bytes
        if kind in ("string", "bytes", "records"):
            width = 2 if kind == "string" else 4
            if value is None:
                return self.length(-1, width)
            value = value.encode() if isinstance(value, str) else value
            return self.length(len(value), width) + value
        if within(field.nullable, self.version) and not field.kind.startswith("[]"):
            return b"\xff" if value is None else b"\x01" + self.structure(field.fields, value)
        return self.structure(field.fields, value)


class Reader:
    def __init__(self, data, version, flexible):
        self.rest, self.version, self.flexible = memoryview(data), version, flexible

    def take(self, count):
        taken, self.rest = bytes(self.rest[:count]), self.rest[count:]
        assert len(taken) == count, "the answer is cut short"
        return taken

    def number(self, code):
        return struct.unpack(">" + code, self.take(struct.calcsize(">" + code)))[0]

    def uvarint(self):
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def length(self, width):
        return self.uvarint() - 1 if self.flexible else self.number("h" if width == 2 else "i")

    def structure(self, fields):
        fields = [field for field in fields if within(field.versions, self.version)]
        body = {field.name: self.value(field.kind, field) for field in fields if field.tag is None}
        if self.flexible:
            for _ in range(self.uvarint()):
                tag, data = self.uvarint(), self.take(self.uvarint())
                for field in (field for field in fields if field.tag == tag):
                    body[field.name] = Reader(data, self.version, True).value(field.kind, field)
        return body

    def value(self, kind, field):
        if kind.startswith("[]"):
            count = self.length(4)
            return None if count < 0 else [self.value(kind[2:], field) for _ in range(count)]
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == "uuid":
            return uuid.UUID(bytes=self.take(16))
        if kind in ("string", "bytes", "records"):
            count = self.length(2 if kind == "string" else 4)
            if count < 0:
                return None
            data = self.take(count)
            return data.decode() if kind == "string" else data
        if within(field.nullable, self.version) and not field.kind.startswith("[]") and self.number("b") < 0:
            return None
        return self.structure(field.fields)


class Closed(Exception):
    """The broker closed the connection."""


class Connection:
    def __init__(self, address, client_id="rows"):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.client_id, self.sent = client_id, 0

    def send(self, api, version, header_version=None, **body):
        """Sends a request; `header_version` claims another one than that which the body is written in."""
        self.sent += 1
        message, client_id = Message(api + "Request"), self.client_id.encode()
        claimed = version if header_version is None else header_version
        head = struct.pack(">hhih", message.key, claimed, self.sent, len(client_id)) + client_id
        head += b"\0" if within(message.flexible, version) else b""
        frame = head + message.encode(body, version)
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def receive(self, api, version):
        frame = self.frame()
        assert struct.unpack(">i", frame[:4])[0] == self.sent, "another request's answer"
        message, frame = Message(api + "Response"), frame[4:]
        if within(message.flexible, version) and api != "ApiVersions":
            assert frame[0] == 0
            frame = frame[1:]
        return message.decode(frame, version)

    def call(self, api, version, **body):
        self.send(api, version, **body)
        return self.receive(api, version)

    def frame(self):
        return self.bytes(struct.unpack(">i", self.bytes(4))[0])

    def bytes(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            data += more
        return data

    def close(self):
        self.socket.close()
