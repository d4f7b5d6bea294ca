"""What people do in the page: try a model, watch a job, cancel it, bring dead ones back."""

import re
import shutil

import pytest
from playwright.sync_api import expect

from satellite.settings import REPO_ROOT

from .conftest import in_an_hour

COLOR_OF = """name => {
    const span = document.body.appendChild(document.createElement("span"));
    span.style.color = `var(${name})`;
    const { color } = getComputedStyle(span);
    span.remove();
    return color;
}"""
# Whether a chart has drawn anything in the right third of its canvas, where the forecast is.
DRAWN_RIGHT = """canvas => {
    const { width, height } = canvas;
    const x = Math.floor(width * 2 / 3);
    const pixels = canvas.getContext("2d").getImageData(x, 0, width - x, height).data;
    return pixels.some((value, index) => index % 4 === 3 && value > 0);
}"""


def row_of(page, job_id):
    return page.get_by_role("row").filter(has=page.locator(f'a[title="{job_id}"]'))


@pytest.fixture(scope="module")
def probe(system):
    """A model that fails when it is asked to, dropped into the system; given back as found."""
    shutil.copy(REPO_ROOT / "tests/faults/probe_model.py", system.root / "models/probe.py")
    shutil.copy(REPO_ROOT / "tests/faults/probe.yaml", system.root / "configs/models/probe.yaml")
    system.deploy()
    yield "probe"
    system.give_back()


def test_a_forecast_in_the_playground(visit, picture):
    one = visit()
    one.open("playground?model=lstm_timeseries")
    page = one.page
    page.get_by_role("button", name="Sample").click()
    page.get_by_role("menuitem", name="Daily rhythm").click()
    page.get_by_label("forecast_steps").fill("48")
    page.get_by_role("button", name="Predict", exact=True).click()
    chart = page.get_by_role("figure", name="Data and answer")
    expect(chart.get_by_role("button", name="Forecast")).to_be_visible()
    assert chart.locator("canvas").evaluate(DRAWN_RIGHT)
    # Who does not see the picture reads its numbers.
    told = chart.get_by_role("row", name=re.compile("^Forecast"))
    expect(told.get_by_role("cell")).to_have_text([re.compile(r"\d")] * 3)
    picture(page, "playground")

    page.get_by_text("Job", exact=True).last.click()
    page.get_by_role("button", name="Submit job").click()
    steps = page.get_by_role("list", name="States of the job")
    expect(steps).to_contain_text(re.compile("queued.*running.*succeeded"))
    expect(page.get_by_role("figure", name="Data and answer")).to_contain_text("Forecast")
    page.get_by_role("link", name="Open the job").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Job …")
    picture(page, "job")


def test_a_job_turns_green_by_itself(visit, submit):
    one = visit()
    one.open("jobs")
    job_id = submit()
    row = row_of(one.page, job_id)
    expect(row).to_contain_text("queued")
    status = row.get_by_text("succeeded")
    expect(status).to_be_visible()
    expect(status).to_have_css("color", one.page.evaluate(COLOR_OF, "--status-good"))
    assert one.loads == 1


def test_a_job_is_cancelled(visit, submit):
    job_id, other = submit(run_at=in_an_hour()), submit(run_at=in_an_hour())
    one = visit()
    one.open(f"jobs/{job_id}")
    one.page.get_by_role("button", name="Cancel").click()
    expect(one.page.get_by_role("main").get_by_text("cancelled").first).to_be_visible()
    expect(one.page.get_by_role("button", name="Retry")).to_be_visible()

    # And from the list, by choosing it.
    one.page.get_by_role("link", name="Jobs", exact=True).click()
    expect(row_of(one.page, job_id)).to_contain_text("cancelled")
    one.page.get_by_role("checkbox", name=f"Select job {other}").check()
    one.page.get_by_role("toolbar").get_by_role("button", name="Cancel").click()
    expect(one.page.get_by_role("dialog")).to_contain_text("1 of 1 done, 0 refused")
    one.page.keyboard.press("Escape")
    expect(row_of(one.page, other)).to_contain_text("cancelled")
    assert one.loads == 1


def test_dead_jobs_are_replayed(visit, submit, probe, picture):
    one = visit()
    one.open("dead-letters")
    # Each fails once in a process of the model, and has one attempt: the replay succeeds.
    ids = [submit(probe, {"op": "flaky", "nonce": f"replay-{number}"}, max_attempts=1) for number in range(3)]
    group = one.page.get_by_role("region", name=probe)
    expect(group).to_contain_text("3 jobs")
    group.get_by_role("button", name="Look").click()
    expect(group.get_by_role("listitem")).to_have_count(3)
    expect(group).to_contain_text("asked to fail")
    picture(one.page, "dead-letters")
    group.get_by_role("button", name="Look").click()
    group.get_by_role("button", name="Replay all").click()
    expect(group).to_contain_text("Done: 3 of 3 replayed, 0 refused.")
    expect(group.get_by_text("succeeded")).to_have_count(4)  # the three, and their sum
    expect(group).to_contain_text("0 jobs")
    assert one.loads == 1

    one.page.goto(f"{one.url}/#/jobs/{ids[0]}")
    expect(one.page.get_by_text("Repeated as")).to_be_visible()
