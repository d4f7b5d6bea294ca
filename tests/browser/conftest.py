"""One Chromium per run, a context of its own per test, and a test that fails when the page complains."""

import contextlib
import datetime
import os
import re
import time

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from satellite.api.page import BUILT
from satellite.settings import REPO_ROOT
from tests.debian import program

from .pictures import take

AXE = REPO_ROOT / "frontend/node_modules/axe-core/axe.min.js"
DOCS = REPO_ROOT / "docs/MONITORING_UI.md"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def pytest_addoption(parser):
    parser.addoption("--screenshots", action="store_true", help="take the pictures of docs/images anew")


def _missing(message):
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def axe():
    """The path of axe-core's script."""
    if not AXE.is_file():
        _missing("axe-core is missing: cd frontend && npm ci")
    return AXE


# Not of the session: while Playwright is started its event loop runs, and no other test may have one.
@pytest.fixture(scope="package")
def browser():
    if not (BUILT / "index.html").is_file():
        _missing("the web page is not built: make page")
    chromium = program("chromium", "chromium")
    # Chromium's sandbox does not work for root.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=args)
        yield browser
        browser.close()


class Visit:
    """A page of the browser, and all that went wrong in it.

    `expected` are patterns of complaints that belong to the test; everything else fails it.
    """

    def __init__(self, context, url):
        self.page = context.new_page()
        self.url = url
        self.expected = []
        self.complaints = []
        self.requests = []
        self.loads = 0
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)
        self.page.on("load", self._loaded)

    def open(self, place=""):
        """Go to a place of the page, such as `jobs?status=dead`, and wait until its data is live."""
        self.page.goto(f"{self.url}/#/{place}")
        self.live()

    def live(self, timeout_s=30):
        """Wait until the socket is up."""
        dot = self.page.get_by_role("status", name=re.compile("Live|실시간"))
        expect(dot).to_be_visible(timeout=timeout_s * 1000)

    def unexpected(self):
        return [text for text in self.complaints if not any(re.search(p, text) for p in self.expected)]

    def _said(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text}")

    def _failed(self, request):
        # The page itself gives up what is not wanted any more.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response):
        if response.status >= 400:
            self.complaints.append(f"answer: {response.status} {response.request.method} {response.url}")

    def _loaded(self, _page):
        self.loads += 1


@pytest.fixture
def address(system):
    """Where the page is; a file of tests may have another one."""
    return system.url


@pytest.fixture
def visit(browser, address):
    """Makes a `Visit` in a context of its own; at the end none may have complained."""
    visits = []
    with contextlib.ExitStack() as stack:

        def make(url=address, **options):
            given = {"viewport": DESKTOP, "locale": "en-GB", "color_scheme": "light", **options}
            context = browser.new_context(**given)
            stack.callback(context.close)
            context.set_default_timeout(20_000)
            visits.append(Visit(context, url))
            return visits[-1]

        yield make
        assert [text for one in visits for text in one.unexpected()] == []


@pytest.fixture
def picture(request):
    """Takes a picture for the documentation, if the run was asked for pictures and the name stands there."""
    wanted = request.config.getoption("--screenshots", default=False)

    def call(page, name):
        if wanted and f"images/page-{name}.png" in DOCS.read_text():
            page.mouse.move(0, 0)
            page.wait_for_timeout(700)  # what is drawn with a transition
            (DOCS.parent / f"images/page-{name}.png").write_bytes(take(page))

    return call


@pytest.fixture(scope="session")
def load(system, request):
    """Something to look at in pictures: jobs of all kinds, a little while long."""
    if not request.config.getoption("--screenshots", default=False):
        return
    with httpx.Client(base_url=system.url, timeout=30) as http:
        examples = [model["example"] for model in http.get("/api/v1/models").json()["models"]]
        for second in range(30):
            for number in range(6):
                body = {**examples[(second + number) % len(examples)], "labels": {"mission": "demo"}}
                http.post("/api/v1/inference/submit", json=body).raise_for_status()
            http.post("/api/v1/inference/predict", json=examples[second % len(examples)])
            time.sleep(1)


@pytest.fixture
def submit(system):
    """Submits a job over the API and returns its id."""
    with httpx.Client(base_url=system.url, timeout=30) as http:

        def call(model="moving_average", data=(1, 2, 3, 4), **fields):
            body = {"model_name": model, "data": data, **fields}
            answer = http.post("/api/v1/inference/submit", json=body)
            assert answer.status_code == 202, answer.text
            return answer.json()["job_id"]

        yield call


def in_an_hour():
    """A `run_at` that no test waits for."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
