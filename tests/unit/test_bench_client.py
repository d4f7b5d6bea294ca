"""The benchmarks' HTTP client, against a server of a few lines."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.client import Answer, Connection, Measured, encode, measure

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncGenerator[str]:
    """A server that hands each request's bytes to `handle`."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await handle(head + await reader.readexactly(length), writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answer(body: bytes, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(request.split(b"\r\n\r\n", 1)[1]))


async def test_every_request_gets_its_own_answer() -> None:
    got: list[Answer] = []
    async with serving(echo) as url:
        requests = [encode("POST", "/path", {"number": number}) for number in range(50)]
        measured = await measure(url, requests, clients=4, on_answer=got.append)
    assert sorted(one.json()["number"] for one in got) == list(range(50))
    assert measured.count == len(measured.times_s) == 50


async def test_an_answer_in_pieces_is_put_together() -> None:
    async def slowly(_: bytes, writer: asyncio.StreamWriter) -> None:
        whole = answer(b"[1, 2, 3]")
        for at in range(len(whole)):
            writer.write(whole[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(slowly) as url:
        connection = await Connection.open(url)
        assert (await connection.send(encode("GET", "/"))).json() == [1, 2, 3]
        connection.close()


async def test_no_more_than_the_clients_are_underway() -> None:
    underway, most = 0, 0

    async def count(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal underway, most
        underway += 1
        most = max(most, underway)
        await asyncio.sleep(0.001)
        underway -= 1
        writer.write(answer(b""))

    async with serving(count) as url:
        await measure(url, [encode("GET", "/")] * 40, clients=5)
    assert most == 5


async def test_another_status_ends_the_load_with_the_body() -> None:
    async def refuse(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"too much", status=503))

    async with serving(refuse) as url:
        with pytest.raises(RuntimeError, match=r"503.*too much"):
            await measure(url, [encode("GET", "/")] * 3, clients=1)


async def test_a_closed_connection_is_an_error_and_not_a_hang() -> None:
    async def hang_up(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(hang_up) as url:
        with pytest.raises(ConnectionError):
            await measure(url, [encode("GET", "/")], clients=1)


def test_quantiles() -> None:
    measured = Measured(count=100, took_s=2, times_s=tuple(number / 1000 for number in range(1, 101)))
    assert measured.per_s == 50
    assert measured.p50_ms == pytest.approx(50.5)
    assert measured.p99_ms == pytest.approx(99.99)
    assert Measured(count=1, took_s=1, times_s=(0.5,)).p99_ms == 500
