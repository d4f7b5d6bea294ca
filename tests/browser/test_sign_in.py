"""The page where the API asks for keys: an ingress alone, without Ray, is enough to see it."""

import asyncio
import contextlib
import re
import shutil
import tempfile
import threading
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from satellite.access.callers import Scope
from satellite.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths
from tests.integration.conftest import MODEL
from tests.integration.keyed import EVERYTHING, bearer, serve_keyed

from .conftest import PHONE
from .test_looks import SAME_IN_KOREAN, TOO_WIDE, serious, texts

# Whoever is refused is told so by the browser, too.
REFUSED = [r"^answer: 401 ", r"Failed to load resource: .* 401"]
NOTICED_MS = 10_000  # a page learns so soon that its key has ended


class Keyed:
    """An ingress that asks for keys, in a thread of its own: Playwright has the loop of this one."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self._node = self._call(self._open())
        self.url = self._node.url

    def key(self, tenant, *scopes):
        return self._call(self._node.key(tenant, *scopes))

    def revoke(self, key):
        self._call(self._node.issuer.revoke(key))

    def close(self):
        self._call(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self):
        folder = Path(tempfile.mkdtemp(prefix="sat-"))
        self._stack.callback(shutil.rmtree, folder)
        paths = Paths(folder)
        paths.create()
        postgres_port, redis_port = free_ports(2)
        postgres = EmbeddedPostgres(paths=paths, port=postgres_port, password="test")
        redis = EmbeddedRedis(paths=paths, port=redis_port, password="test")
        for server in (postgres, redis):
            server.start()
            self._stack.callback(server.process.wait, 10)
            self._stack.callback(server.process.terminate)
            await asyncio.to_thread(server.wait_ready)
        return await self._stack.enter_async_context(serve_keyed(postgres.url, redis.url))

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


@pytest.fixture(scope="module")
def keyed():
    keyed = Keyed()
    yield keyed
    keyed.close()


@pytest.fixture
def address(keyed):
    return keyed.url


def sign_in(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_key_opens_the_page_until_it_ends(visit, keyed, axe, picture):
    one = visit(bypass_csp=True)
    one.expected = REFUSED
    page = one.page
    page.goto(f"{one.url}/#/jobs?status=%5B%22succeeded%22%5D")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("API key")).to_be_focused()
    picture(page, "sign-in")
    page.add_script_tag(path=axe)
    sign_in(page, "sat_wrong")
    expect(page.get_by_text("this is not an API key")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
        assert serious(page) == []

    key = keyed.key("acme", *EVERYTHING)
    sign_in(page, key)
    one.live()
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
    assert "succeeded" in page.url
    body = {"model_name": MODEL, "data": [1, 2, 3, 4]}
    answer = httpx.post(f"{keyed.url}/api/v1/inference/submit", json=body, headers=bearer(key))
    row = page.get_by_role("row").filter(has=page.locator(f'a[title="{answer.json()["job_id"]}"]'))
    expect(row).to_contain_text("succeeded")
    page.reload()  # the key is kept for as long as the tab is open
    one.live()
    expect(page.get_by_role("button", name="API key: a key of acme · acme")).to_be_visible()

    keyed.revoke(key)
    expect(page.get_by_role("alert")).to_contain_text("revoked", timeout=NOTICED_MS)
    sign_in(page, keyed.key("b"))
    one.live()
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
    expect(row).not_to_be_visible()  # another tenant's
    page.get_by_role("button", name="API key: a key of b · b").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert key not in "".join(one.requests)


def test_what_a_key_does_not_allow_is_said(visit, keyed, axe):
    one = visit(bypass_csp=True)
    one.expected = REFUSED
    page = one.page
    page.goto(f"{one.url}/#/playground")
    sign_in(page, keyed.key("acme", Scope.READ))
    predict = page.get_by_role("button", name="Predict", exact=True)
    predict.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("lacks the scope submit")
    page.add_script_tag(path=axe)
    assert serious(page) == []
    predict.click(force=True)
    page.keyboard.press("Control+Enter")
    page.get_by_role("link", name="Overview").click()
    one.live()
    expect(page.get_by_role("region", name="Models").get_by_role("button", name=MODEL)).to_be_visible()
    # The machines are not shown to it, which is no reason to say that there are none.
    expect(page.get_by_role("heading", name="Requests per batch")).to_be_visible()
    expect(page.get_by_role("heading", name="Cluster")).not_to_be_visible()
    assert [url for url in one.requests if url.endswith("/predict")] == []


def test_on_a_phone_in_korean(visit, keyed):
    english = texts("en") - SAME_IN_KOREAN
    one = visit(viewport=PHONE, locale="ko-KR", color_scheme="dark", has_touch=True, is_mobile=True)
    one.expected = REFUSED
    page = one.page
    page.goto(one.url)
    expect(page.get_by_role("heading", name="로그인")).to_be_visible()
    lines = {line.strip() for line in page.locator("body").inner_text().splitlines()}
    assert (page.evaluate(TOO_WIDE), lines & english) == (0, set())
    page.get_by_label("API 키", exact=True).fill(keyed.key("acme"))
    page.get_by_role("button", name="로그인", exact=True).click()
    one.live()
    page.get_by_role("button", name=re.compile("^API 키: a key of acme")).click()
    expect(page.get_by_role("menuitem", name="로그아웃")).to_be_visible()
    assert page.evaluate(TOO_WIDE) == 0
