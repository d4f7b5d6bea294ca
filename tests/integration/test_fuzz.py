"""Whatever a client sends: never a 500, always a problem that names what is wrong."""

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import MODEL

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from("abc"), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model_name": st.just(MODEL) | JSON,
        "data": st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=6) | JSON,
        "config": st.fixed_dictionaries({}, optional={"forecast_steps": st.integers(-1, 600), "window": JSON})
        | JSON,
        "store": JSON,
        "wait_s": st.floats(-1, 1) | JSON,
        "other": JSON,
    },
)
BOUNDED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HEADERS = {"Content-Type": "application/json"}


async def check(node, path, content):
    answer = await node.http.post(f"/api/v1/inference/{path}", content=content, headers=HEADERS)
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.status_code in (400, 404, 422, 504), problem
        assert problem["code"] and problem["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


@BOUNDED
@given(body=JSON | BODIES, path=st.sampled_from(["submit", "predict"]))
async def test_any_json(node, body, path):
    try:
        content = orjson.dumps(body)
    except TypeError:
        content = str(body).encode()  # an integer beyond 64 bits, say
    await check(node, path, content)


@BOUNDED
@given(content=st.binary(max_size=200), path=st.sampled_from(["submit", "predict"]))
async def test_any_bytes(node, content, path):
    await check(node, path, content)
