"""The web page as the ingress serves it: built, and where it was not built."""

import gzip

import httpx
import pytest
from fastapi import FastAPI

from satellite.api import page, problems
from satellite.api.middleware import RequestMiddleware
from satellite.metrics import Metrics

from .test_api import check_problem

SCRIPT = "assets/index-4f2a.js"
HTML = {"accept": "text/html"}


def client(app):
    transport = httpx.ASGITransport(RequestMiddleware(app, metrics=Metrics()))
    return httpx.AsyncClient(transport=transport, base_url="http://page")


@pytest.fixture
async def built(tmp_path):
    """A page as Vite builds one, behind the problems of the API."""
    (tmp_path / "assets").mkdir()
    (tmp_path / ".vite").mkdir()
    (tmp_path / ".vite" / "manifest.json").write_text("{}")
    (tmp_path / "index.html").write_text("<title>built</title>")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / SCRIPT).write_text("let a = 1;")
    (tmp_path / f"{SCRIPT}.gz").write_bytes(gzip.compress(b"let a = 1;"))
    app = FastAPI()
    problems.install(app)
    page.install(app, tmp_path)
    async with client(app) as http:
        yield http


async def test_the_built_page_is_asked_for_again_and_its_assets_are_kept(built):
    index = await built.get("/")
    assert (index.status_code, index.text) == (200, "<title>built</title>")
    assert index.headers["content-type"].startswith("text/html")
    assert index.headers["cache-control"] == "no-cache"
    script = await built.get(f"/{SCRIPT}", headers={"accept-encoding": "identity"})
    assert script.text == "let a = 1;"
    assert "javascript" in script.headers["content-type"]
    assert "immutable" in script.headers["cache-control"]
    icon = await built.get("/favicon.svg")
    assert (icon.text, icon.headers["content-type"]) == ("<svg/>", "image/svg+xml")
    for answer in (index, script, icon):
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_an_etag_saves_the_body_and_head_has_none(built):
    for path in ("/", f"/{SCRIPT}"):
        first = await built.get(path)
        again = await built.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await built.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == first.headers["content-length"]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "gzip"), ("br", None), ("gzip;q=0", None), ("*;q=0", None), ("x-gzip-y", None)],
)
async def test_who_reads_gzip_gets_what_was_packed(built, accepted, encoding):
    answer = await built.get(f"/{SCRIPT}", headers={"accept-encoding": accepted})
    assert answer.text == "let a = 1;"
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "javascript" in answer.headers["content-type"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/assets/nothing.js",
        "/assets/",
        "/assets/../index.html",
        "/.vite/manifest.json",
        "/assets/%2e%2e/index.html",
        "/index.html/x",
    ],
)
async def test_what_is_not_there_is_a_404_problem(built, path):
    check_problem(await built.get(path, headers=HTML), 404, "not_found")


async def test_a_page_takes_no_post(built):
    check_problem(await built.post("/"), 405, "method_not_allowed")
    check_problem(await built.post(f"/{SCRIPT}"), 405, "method_not_allowed")


async def test_where_it_was_not_built_a_plain_page_says_how(tmp_path):
    app = FastAPI()
    page.install(app, tmp_path)
    async with client(app) as http:
        answer = await http.get("/")
        assert "make page" in answer.text
        assert "'sha256-" in answer.headers["content-security-policy"]
        assert "unsafe-inline" not in answer.headers["content-security-policy"].split("style-src")[0]
        assert (await http.head("/")).status_code == 200
