"""The page and its WebSocket: nothing polls while it is up, and what was missed while it was down comes."""

import os
import signal
import time

import httpx
from playwright.sync_api import expect

WATCHED_MS = 12_000  # longer than the 10 s after which a page without a socket reads again


def test_nothing_polls_while_the_socket_is_up(visit, load, picture):
    one = visit()
    one.open()
    expect(one.page.get_by_role("region", name="Models").get_by_role("row")).not_to_have_count(0)
    one.page.wait_for_load_state("networkidle")
    picture(one.page, "overview")
    one.requests.clear()
    one.page.wait_for_timeout(WATCHED_MS)
    assert one.requests == []


def test_the_page_catches_up_after_an_ingress_was_killed(visit, system, picture):
    one = visit()
    one.open("jobs")
    # What a browser says by itself of a connection that is refused, and what HAProxy answers meanwhile.
    one.expected = [r"WebSocket connection", r"Failed to load resource", r"^answer: 50[234] ", r"^failed: "]
    (pid,) = system.replicas()["Ingress"]
    os.kill(pid, signal.SIGKILL)
    banner = one.page.get_by_role("alert").filter(has_text="The live connection is down")
    expect(banner).to_be_visible()
    picture(one.page, "lost")

    job_id = _submit_when_there_is_an_ingress(system)
    row = one.page.get_by_role("row").filter(has=one.page.locator(f'a[title="{job_id}"]'))
    expect(row).to_contain_text("succeeded", timeout=60_000)
    one.live()
    expect(banner).not_to_be_visible()
    assert one.loads == 1
    system.wait_ready()


def _submit_when_there_is_an_ingress(system):
    body = {"model_name": "moving_average", "data": [1, 2, 3, 4]}
    deadline = time.monotonic() + 60
    with httpx.Client(base_url=system.url, timeout=10) as http:
        while True:
            try:
                answer = http.post("/api/v1/inference/submit", json=body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 202:
                return answer.json()["job_id"]
            assert time.monotonic() < deadline
            time.sleep(0.2)
