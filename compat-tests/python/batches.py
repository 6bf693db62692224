"""Record batches v2 written by hand, and the requests that no client library would send.

Enough of the protocol to ask a broker what it makes of a batch: Produce 8 (the last one without tags, the first one
with the errors of single records), answered by (error code, base offset, record errors, message).
"""

import socket
import struct
import zlib

CRC32C = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
    CRC32C.append(n)

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 8, 16, 32


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n & ~0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record(key, value, offset_delta=0, timestamp_delta=0, headers=(), attributes=0):
    body = bytes([attributes]) + varint(timestamp_delta) + varint(offset_delta) + sized(key) + sized(value)
    body += varint(len(headers)) + b"".join(sized(name) + sized(data) for name, data in headers)
    return varint(len(body)) + body


def gzip(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def batch(records, count=None, **fields):
    """A batch of encoded records; `fields` are the header's, wrong if the caller wants them so."""
    if not isinstance(records, bytes):
        count = len(records) if count is None else count
        records = b"".join(records)
    f = dict(base_offset=0, leader_epoch=-1, magic=2, attributes=0, last_offset_delta=count - 1, base_timestamp=0)
    f |= dict(max_timestamp=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, length=None, crc=None)
    f |= fields
    summed = struct.pack(
        ">hiqqqhii",
        f["attributes"],
        f["last_offset_delta"],
        f["base_timestamp"],
        f["max_timestamp"],
        f["producer_id"],
        f["producer_epoch"],
        f["base_sequence"],
        count,
    )
    summed += records
    crc = crc32c(summed) if f["crc"] is None else f["crc"]
    length = len(summed) + 9 if f["length"] is None else f["length"]
    return struct.pack(">qiibI", f["base_offset"], length, f["leader_epoch"], f["magic"], crc) + summed


class Raw:
    """A connection that sends what it is told."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 10)
        self.correlation_id = 0

    def close(self):
        self.socket.close()

    def call(self, key, version, body):
        self.correlation_id += 1
        header = struct.pack(">hhih", key, version, self.correlation_id, 3) + b"raw"
        self.socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        (length,) = struct.unpack(">i", self.read(4))
        answer = self.read(length)
        assert struct.unpack(">i", answer[:4])[0] == self.correlation_id
        return answer[4:]

    def read(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise ConnectionError("the broker hung up")
            data += more
        return data

    def produce(self, topic, records, partition=0, version=8, acks=-1):
        """(error code, base offset, [(index, message)], message)"""
        name = topic.encode()
        body = struct.pack(">hhi", -1, acks, 10_000)
        body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">ii", 1, partition)
        body += struct.pack(">i", -1) if records is None else struct.pack(">i", len(records)) + records
        answer = self.call(0, version, body)
        answer = answer[4 + 2 + len(name) + 4 + 4 :]
        code, base_offset = struct.unpack(">hq", answer[:10])
        answer = answer[10 + 8 + 8 :]
        errors = []
        if version >= 8:
            (count,) = struct.unpack(">i", answer[:4])
            answer = answer[4:]
            for _ in range(count):
                (index,) = struct.unpack(">i", answer[:4])
                text, answer = string(answer[4:])
                errors.append((index, text))
            message, answer = string(answer)
        else:
            message = None
        return code, base_offset, errors, message

    def fetch(self, topic, offset, partition=0, bytes_max=1 << 20):
        """The bytes of the batches from `offset` on (Fetch 4)."""
        name = topic.encode()
        body = struct.pack(">iiiib", -1, 100, 1, 1 << 24, 0)
        body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, partition, offset, bytes_max)
        answer = self.call(1, 4, body)
        at = 4 + 4 + 2 + len(name) + 4
        _, code = struct.unpack(">ih", answer[at : at + 6])
        assert code == 0, code
        at += 6 + 8 + 8
        (aborted,) = struct.unpack(">i", answer[at : at + 4])
        at += 4 + max(aborted, 0) * 16
        (length,) = struct.unpack(">i", answer[at : at + 4])
        return answer[at + 4 : at + 4 + max(length, 0)]


def string(data):
    (length,) = struct.unpack(">h", data[:2])
    return (None, data[2:]) if length < 0 else (data[2 : 2 + length].decode(), data[2 + length :])


def batches(data):
    """The batches of a record set: header fields, and the bytes of the records."""
    names = "attributes last_offset_delta base_timestamp max_timestamp producer_id producer_epoch base_sequence count"
    found = []
    while len(data) >= 61:
        base_offset, length, _, magic, crc = struct.unpack(">qiibI", data[:21])
        if len(data) < 12 + length:
            break
        fields = dict(zip(names.split(), struct.unpack(">hiqqqhii", data[21:61])))
        found.append(dict(base_offset=base_offset, magic=magic, crc=crc, records=data[61 : 12 + length], **fields))
        assert crc == crc32c(data[21 : 12 + length])
        data = data[12 + length :]
    return found
