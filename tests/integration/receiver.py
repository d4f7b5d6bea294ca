"""Something that receives webhooks, on a real socket, and answers as it is told to."""

import asyncio
import contextlib
import json

from .conftest import free_port


class Receiver:
    """Keeps what it gets.

    Attributes:
        answers: status and headers of the next answers; then 204. None: it never answers.
        got: for each request its headers and parsed body.
    """

    def __init__(self):
        self.port = free_port()
        self.answers, self.got, self.raw = [], [], []
        self.open = 0

    def url(self, host="127.0.0.1", path="/hook"):
        return f"http://{host}:{self.port}{path}"

    @property
    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.got]

    def of_job(self, job_id):
        return [body["type"] for _, body in self.got if body["data"].get("job_id") == job_id]

    async def serve(self, reader, writer):
        self.open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.path = head.split(" ")[1]
            raw = await reader.readexactly(int(headers["content-length"]))
            # The signature is base64, whose case counts.
            signature = next(
                line.split(": ", 1)[1]
                for line in head.split("\r\n")
                if line.lower().startswith("webhook-signature")
            )
            self.raw.append(raw)
            self.got.append(({**headers, "webhook-signature": signature}, json.loads(raw)))
            answer = self.answers.pop(0) if self.answers else (204, {})
            if answer is None:
                await asyncio.sleep(60)
                return
            status, more = answer
            lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in more.items()), "Content-Length: 0"]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            await writer.drain()
        finally:
            self.open -= 1
            writer.close()


@contextlib.asynccontextmanager
async def receiving(*answers):
    """A receiver on loopback; `answers`: its first ones."""
    receiver = Receiver()
    receiver.answers = list(answers)
    tasks = set()

    async def serve(reader, writer):
        task = asyncio.current_task()
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await receiver.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", receiver.port)
    try:
        yield receiver
    finally:
        for task in list(tasks):
            task.cancel()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)
