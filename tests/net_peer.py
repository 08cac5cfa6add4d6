# SPDX-License-Identifier: MIT
"""A client in Python's asyncio: net_peer.py echo|http|chat|hold HOST PORT. Exit code 0 if all was as it should be; what
was not is named on standard output."""
import asyncio
import os
import re
import sys

LIMIT_S = 60
HOST, PORT = sys.argv[2], int(sys.argv[3])


async def connect():
    return await asyncio.open_connection(HOST, PORT)


async def read_answer(reader, method="GET"):
    """Status, headers in small letters, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    size = int(headers.get("content-length", 0)) if method != "HEAD" and lines[0][9] != "1" else 0
    return int(lines[0][9:12]), headers, await reader.readexactly(size)


# ---- echo: every byte comes back, in order, and an end is answered with an end


async def echo_one(size):
    reader, writer = await connect()
    sent = os.urandom(size)

    async def send():
        at = 0
        while at < size:
            piece = 1 + (at * 7919) % 30000
            writer.write(sent[at:at + piece])
            at += piece
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    got = await reader.read(-1)
    await sending
    writer.close()
    assert got == sent, f"{len(got)} of {size} bytes, or others"


async def echo():
    await asyncio.gather(*(echo_one(1 + 8191 * i) for i in range(50)))


# ---- HTTP, as a server meets it


async def pieces_of_a_byte(reader, writer):
    for byte in b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    status, _, body = await read_answer(reader)
    assert status == 200 and body == b"Hello, world\n", (status, body)


async def many_at_once(reader, writer):
    count = 5000
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * count)
    for _ in range(count):
        status, headers, _ = await read_answer(reader)
        assert status == 200 and "connection" not in headers


async def one_after_another(reader, writer):
    for method in ("GET", "HEAD", "GET", "OPTIONS", "DELETE"):
        writer.write(f"{method} /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        status, headers, body = await read_answer(reader, method)
        assert status == 200 and headers["content-length"] == "13"
        assert body == (b"" if method == "HEAD" else b"Hello, world\n"), method
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d gmt", headers["date"])


async def body_of_a_length(reader, writer):
    body = os.urandom(300000)
    writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + body +
                 b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(2):
        assert (await read_answer(reader))[0] == 200


async def expectation_is_met(reader, writer):
    writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\neXpect: 100-continue\r\n\r\n")
    assert (await read_answer(reader))[0] == 100
    writer.write(b"body")
    assert (await read_answer(reader))[0] == 200


async def upgrade_is_ignored(reader, writer):
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await read_answer(reader))[0] == 200


async def close_is_obeyed(reader, writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    status, headers, _ = await read_answer(reader)
    assert status == 200 and headers["connection"] == "close"
    assert await reader.read() == b""


async def old_version_closes(reader, writer):
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await read_answer(reader))[1]["connection"] == "close"
    assert await reader.read() == b""


async def old_version_may_stay(reader, writer):
    for _ in range(2):
        writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await read_answer(reader))[1]["connection"] == "keep-alive"


async def end_is_answered_first(reader, writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    writer.write_eof()
    for _ in range(3):
        assert (await read_answer(reader))[0] == 200
    assert await reader.read() == b""


async def refused(reader, writer, request, wanted):
    try:
        writer.write(request)
        await writer.drain()
    except ConnectionError:
        pass  # it need not read all of it
    status, headers, _ = await read_answer(reader)
    assert status == wanted and headers["connection"] == "close", status
    assert await reader.read() == b""


async def nonsense_is_400(reader, writer):
    await refused(reader, writer, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400)


async def tunnels_are_400(reader, writer):
    await refused(reader, writer, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400)


async def two_lengths_are_400(reader, writer):
    await refused(reader, writer, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400)


async def large_head_is_431(reader, writer):
    await refused(reader, writer, b"GET / HTTP/1.1\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 9000, 431)


async def large_name_is_431(reader, writer):
    await refused(reader, writer, b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", 431)


async def http():
    for test in (pieces_of_a_byte, many_at_once, one_after_another, body_of_a_length, expectation_is_met,
                 upgrade_is_ignored, close_is_obeyed, old_version_closes, old_version_may_stay,
                 end_is_answered_first, nonsense_is_400, tunnels_are_400, two_lengths_are_400,
                 large_head_is_431, large_name_is_431):
        reader, writer = await connect()
        try:
            await asyncio.wait_for(test(reader, writer), 20)
            print(f"ok http_{test.__name__}")
        except Exception as error:  # whatever it is, it is this test's failure
            print(f"not ok http_{test.__name__} {error!r}")
        writer.close()


# ---- chat: everybody hears everybody, whichever shard they came to


async def chat():
    count = 20
    visitors = [await connect() for _ in range(count)]
    for number, (_, writer) in enumerate(visitors):
        writer.write(f"v{number}\n".encode())
    for reader, _ in visitors:
        text = b""
        while not text.endswith(b" is here\n"):
            text = await reader.readline()
    for number, (_, writer) in enumerate(visitors):
        writer.write(f"line {number}\r\n".encode())
    for reader, _ in visitors:
        missing = {f"v{number}: line {number}\n".encode() for number in range(count)}
        while missing:
            line = await reader.readline()
            assert line, f"the end before {missing}"
            missing.discard(line)
    for _, writer in visitors:
        writer.close()


# ---- connections of all kinds when the server is told to end: "ready", and then it is up to the server


async def hold():
    idle = [await connect() for _ in range(40)]
    for reader, writer in idle[:20]:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
    halves = [await connect() for _ in range(5)]
    for _, writer in halves:
        writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n1234")
    for reader, _ in halves:
        assert (await read_answer(reader))[0] == 100  # so it has begun to read that
    print("ready", flush=True)
    for reader, _ in idle:
        assert await reader.read() == b""
    for reader, writer in halves:
        writer.write(b"5678")
        assert (await read_answer(reader))[0] == 200
        assert await reader.read() == b""


async def main():
    await asyncio.wait_for({"echo": echo, "http": http, "chat": chat, "hold": hold}[sys.argv[1]](), LIMIT_S)


asyncio.run(main())
