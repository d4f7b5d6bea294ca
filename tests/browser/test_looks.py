"""How the page looks, to everybody: on a phone, in Korean, in the dark, to a screen reader, below a path."""

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from satellite.cli.ray_head import free_ports
from satellite.settings import REPO_ROOT
from tests.nginx import Nginx

from .conftest import PHONE

MODEL = "lstm_timeseries"
# Of each place: its name in pictures, and what only it has, once its data is there.
PLACES = {
    "": ("overview", f"button:has-text('{MODEL}')"),
    "playground": ("playground", "main:has(form) canvas"),
    "jobs": ("jobs", "[role=grid] a"),
    "dead-letters": ("dead-letters", "main:has(h1:text-matches('Dead letters|데드 레터')) .panel"),
    "models": ("models", f"h2:has-text('{MODEL}')"),
    f"models/{MODEL}": ("model", f"main:has(h1:has-text('{MODEL}')) td"),
}
# Scrolls sideways: the page itself, not a table in it.
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SAME_IN_KOREAN = {"CPU", "GPU", "JSON", "JSON Schema", "p50", "p95"}
IN_SIGHT_S = 5  # of a machine with two cores on which a whole system runs


def texts(language):
    """Every text of a language."""
    found = set()

    def collect(value):
        for one in value.values():
            collect(one) if isinstance(one, dict) else found.add(one)

    for file in (REPO_ROOT / "frontend/src/i18n" / language).glob("*.json"):
        collect(json.loads(file.read_text()))
    return found


def serious(page):
    """What axe, which is in the page, finds in it."""
    violations = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [
        f"{rule['id']}: {rule['help']}: {node['target']}: {node['failureSummary']}"
        for rule in violations
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.fixture
def places(submit, system):
    """All places, with that of a job which has ended."""
    job_id = submit()
    httpx.get(f"{system.url}/api/v1/inference/result/{job_id}?wait_s=30", timeout=60).raise_for_status()
    # The last that is drawn of it: where its time went.
    return {**PLACES, f"jobs/{job_id}": ("job", f"main:has(h1:has-text('{job_id[-8:]}')) li strong")}


def test_on_a_phone_in_korean_in_the_dark(visit, places, load, picture):
    english = texts("en") - SAME_IN_KOREAN
    one = visit(viewport=PHONE, locale="ko-KR", color_scheme="dark", has_touch=True, is_mobile=True)
    page = one.page
    for place, (name, there) in places.items():
        one.open(place)
        expect(page.locator(there).first).to_be_visible()
        assert page.evaluate(TOO_WIDE) == 0, place
        lines = {line.strip() for line in page.locator("body").inner_text().splitlines()}
        assert lines & english == set(), place
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        picture(page, f"{name}-phone-ko")
    html = page.locator("html")
    expect(html).to_have_attribute("data-mantine-color-scheme", "dark")
    expect(html).to_have_attribute("lang", "ko")
    page.get_by_role("button", name="메뉴").click()
    expect(page.get_by_role("link", name="데드 레터")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, axe, places, load, picture, scheme):
    # The page's policy lets no script in from elsewhere: here it must.
    one = visit(color_scheme=scheme, bypass_csp=True)
    page = one.page
    found = []
    for place, (name, there) in places.items():
        one.open(place)
        expect(page.locator(there).first).to_be_visible()
        picture(page, f"{name}-{scheme}")
        if not page.evaluate("'axe' in window"):
            page.add_script_tag(path=axe)
        found += [f"{place}: {violation}" for violation in serious(page)]
    assert not found, "\n".join(found)


def test_the_first_look_is_quick(visit, submit, capsys):
    submit()
    lines = []
    for place, (name, there) in PLACES.items():
        one = visit()  # a context of its own: nothing is cached
        one.page.goto(f"{one.url}/#/{place}", wait_until="commit")
        # The page's clock begins with the navigation.
        one.page.locator(there).first.wait_for()
        seen_ms = one.page.evaluate("performance.now()")
        sent = one.page.evaluate(
            """performance.getEntriesByType("resource").filter(({ name }) => /assets|scheme/.test(name))
                .reduce((sum, { transferSize }) => sum + transferSize, 0)"""
        )
        lines.append(
            f"{name:14} in sight after {seen_ms:5.0f} ms, {sent / 1000:5.0f} kB of scripts and styles"
        )
        assert seen_ms < IN_SIGHT_S * 1000
    with capsys.disabled():
        print("", *lines, sep="\n")


@pytest.fixture
def below_a_path(system, tmp_path):
    """The address of the page below a path of another site, set up as the documentation says."""
    text = (REPO_ROOT / "docs/DEPLOYMENT.md").read_text()
    (location,) = re.findall(r"```nginx\n(location /satellite/ .*?)```", text, re.DOTALL)
    (port,) = free_ports(1)
    site = f"server {{ listen 127.0.0.1:{port}; {location} }}"
    nginx = Nginx(Path(tmp_path), f"server 127.0.0.1:{system.http_port};", site)
    yield f"http://127.0.0.1:{port}/satellite"
    nginx.stop()


def test_below_a_path_of_another_site(visit, below_a_path):
    one = visit(below_a_path)
    one.open("playground")
    one.page.get_by_role("button", name="Predict", exact=True).click()
    expect(one.page.get_by_role("figure", name="Data and answer")).to_contain_text("Forecast")
    assert [url for url in one.requests if not url.startswith(below_a_path)] == []
