"""What Prometheus reads of a running system."""

import re
import time

import httpx

from satellite.cli.processes import find_run
from satellite.cli.state import Paths, read_state

MODEL = "moving_average"
BODY = {"model_name": MODEL, "data": [1.0, 2.0, 3.0, 4.0]}
PREDICT = "/api/v1/inference/predict"
SUBMIT = "/api/v1/inference/submit"
EXPORT_S = 40  # Ray exports every 10 s, what was set every 2 s
QUIET_S = 13  # longer than both together
COUNTED = [("predict_seconds_count", None), ("jobs_submitted_total", None), ("job_seconds_count", None)]


def metrics_port(system):
    state = read_state(Paths(system.home))
    for process in find_run(state.run_id, session=state.supervisor, roots=[state.supervisor]):
        for argument in process.cmdline():
            if found := re.fullmatch(r"--metrics-export-port=(\d+)", argument):
                return found[1]
    raise AssertionError("no process exports metrics")


def scrape(port):
    """The samples of the model, summed over everything but `le` and `status`."""
    samples = {}
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines():
        found = re.fullmatch(r"ray_satellite_(\w+)\{(.*)\} (\S+)", line)
        if found and f'model="{MODEL}"' in found[2]:
            limit = re.search(r'le="([^"]*)"', found[2])
            key = found[1], limit and limit[1]
            samples[key] = samples.get(key, 0.0) + float(found[3])
    return samples


def settled(port):
    """The samples, once all that other tests did has been exported."""
    deadline = time.monotonic() + 2 * EXPORT_S
    samples = scrape(port)
    while True:
        time.sleep(QUIET_S)
        before, samples = samples, scrape(port)
        if all(samples.get(name) == before.get(name) for name in COUNTED):
            return samples
        assert time.monotonic() < deadline, "somebody goes on using the model"


def test_what_happened_is_counted_once(system, http):
    port = metrics_port(system)
    before = settled(port)
    for _ in range(3):
        assert http.post(PREDICT, json=BODY).status_code == 200
    links = [http.post(SUBMIT, json=BODY).json()["links"] for _ in range(2)]
    for link in links:
        assert http.get(link["wait"]).json()["status"] == "succeeded"

    def grown(name, limit=None):
        return scrape(port).get((name, limit), 0) - before.get((name, limit), 0)

    deadline = time.monotonic() + EXPORT_S
    while grown("job_seconds_count") < 2 or grown("predict_seconds_count") < 3:
        assert time.monotonic() < deadline, scrape(port)
        time.sleep(1)
    time.sleep(QUIET_S)
    assert grown("predict_seconds_count") == grown("predict_seconds_bucket", "+Inf") == 3
    newest = http.get("/api/v1/jobs", params={"model_name": MODEL, "limit": 10}).json()["jobs"]
    assert grown("job_seconds_count") == grown("jobs_submitted_total") == 2, newest
    assert grown("job_seconds_bucket", "60") == 2
    assert 0 <= grown("job_seconds_bucket", "0.002") <= grown("job_seconds_bucket", "3") <= 2
    assert 0 < grown("predict_seconds_sum") < 60
