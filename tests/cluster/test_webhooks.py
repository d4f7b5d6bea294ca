"""A webhook through the whole system, sent by the deployment that is there for it."""

import contextlib
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook


@contextlib.contextmanager
def receiving():
    """A receiver on loopback: its URL, and a queue of what it gets."""
    got = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()
        thread.join()


def test_a_job_tells_its_own_receiver_and_an_endpoint(system, http):
    assert len(system.replicas()["Webhooks"]) == 1
    with receiving() as (url, got):
        hook = http.post("/api/v1/webhooks", json={"url": url, "model_name": "moving_average"}).json()
        try:
            secret = http.post("/api/v1/webhooks/secret").json()["secret"]
            body = {"model_name": "moving_average", "data": [1, 2, 3, 4], "webhook": {"url": url}}
            job_id = http.post("/api/v1/inference/submit", json=body).json()["job_id"]
            messages = [got.get(timeout=20) for _ in range(2)]
            for signed_by in (hook["secret"], secret):
                told = [body for headers, body in messages if verified(signed_by, headers, body)]
                assert len(told) == 1 and job_id.encode() in told[0]
        finally:
            http.delete(f"/api/v1/webhooks/{hook['id']}")


def verified(secret, headers, body):
    with contextlib.suppress(Exception):
        return Webhook(secret).verify(body, headers)["type"] == "job.succeeded"
    return False
