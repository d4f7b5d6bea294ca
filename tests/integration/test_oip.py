"""The Open Inference Protocol on a real socket: what fits, what does not, and what is said of it."""

import asyncio
import gzip
import json
import zlib

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from ray.serve._private.thirdparty.get_asgi_route_name import get_asgi_route_name

from satellite.api.app import Application
from satellite.api.oip_wire import HEADER_LENGTH
from satellite.model import forget, register_model, registered

from .conftest import MODEL, serve
from .helpers import eventually, job_body, waiting
from .test_api import PREDICT
from .test_fuzz import BOUNDED, JSON

INFER = f"/v2/models/{MODEL}/infer"
VERSION = "1.0.0"
ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]])


def tensor(array=ROWS, **fields):
    array = np.asarray(array)
    return {"name": "data", "shape": array.shape, "datatype": "FP64", "data": array.tolist()} | fields


def body(*tensors, **fields):
    return {"inputs": list(tensors) or [tensor()], "parameters": {"forecast_steps": 2}} | fields


def framed(head, *raw):
    head = json.dumps(head).encode()
    return b"".join([head, *raw]), {HEADER_LENGTH: str(len(head))}


def binary(array=ROWS, datatype="FP64", **fields):
    entry = {"name": "data", "shape": array.shape, "datatype": datatype}
    head = body(entry | {"parameters": {"binary_data_size": array.nbytes}}, **fields)
    return framed(head, array.tobytes())


async def infer(node, content, headers=None, path=INFER):
    content = content if isinstance(content, bytes) else json.dumps(content, default=list).encode()
    return await node.http.post(path, content=content, headers=headers or {})


async def refused(node, content, words, status=400, headers=None, path=INFER):
    answer = await infer(node, content, headers, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert words in answer.json()["error"]


async def test_json_in_json_out(shared):
    answer = await infer(shared, body(id="mine"))
    assert answer.json() == {
        "model_name": MODEL,
        "model_version": VERSION,
        "id": "mine",
        "outputs": [
            {"name": "forecast", "datatype": "FP64", "shape": [2, 2], "data": [2.5, 2.5, 5.0, 5.0]},
        ],
    }
    assert shared.replica.sizes[-1] == 2  # both rows in one batch


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
async def test_binary_in_binary_out_compressed_or_not(shared, encoding):
    content, headers = binary(parameters={"forecast_steps": 512, "binary_data_output": True})
    if encoding:
        content = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](content)
        headers |= {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    answer = await infer(shared, content, headers | ({} if encoding else {"Accept-Encoding": "identity"}))
    assert answer.headers.get("content-encoding") == encoding
    length = int(answer.headers[HEADER_LENGTH])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 2 * 512 * 8}
    values = np.frombuffer(answer.content[length:], "<f8").reshape(output["shape"])
    assert (values[0] == 2.5).all() and (values[1] == 5).all()


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "INT8", "INT64", "UINT16", "UINT64"])
async def test_numbers_of_other_datatypes_are_converted(shared, datatype):
    kind = {"FP": "f", "IN": "i", "UI": "u"}[datatype[:2]] + str(int(datatype.strip("FPUINT")) // 8)
    for content, headers in (
        binary(ROWS.astype(kind), datatype),
        (body(tensor(ROWS.astype(kind), datatype=datatype)), {}),
    ):
        answer = await infer(shared, content, headers)
        assert answer.json()["outputs"][0]["data"] == [2.5, 2.5, 5.0, 5.0], answer.text


async def test_a_tensor_without_rows_is_one_row(shared):
    answer = await infer(shared, body(tensor(ROWS[0])))
    assert answer.json()["outputs"][0]["shape"] == [1, 2]


ENTRY = {"name": "data", "shape": [1, 4], "datatype": "FP64"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "unexpected end"),
        (b'{"inputs":[{"name":"data","shape":[4],"datatype":"FP64","data":[1,2,NaN,4]}]}', "NaN"),
        ([], "must be an object"),
        ({}, "/inputs: is missing"),
        ({"inputs": []}, "'data' (FP64, shape [-1, -1]) is missing"),
        (body(tensor(), tensor()), "there is a 'data' already"),
        (body(tensor(name="x")), "there is no input 'x'; the model takes 'data'"),
        (body(tensor(datatype="FP63")), "must be one of BOOL"),
        (body(tensor(datatype="BOOL", data=[True] * 8)), "is BOOL; the model takes FP16"),
        (body(tensor(datatype="BYTES", data=["1"] * 8)), "is BYTES"),
        (body(tensor(shape=[2, 3])), "the data has not the shape [2, 3]"),
        (body(tensor(shape=[2, -1])), "each 0 or more"),
        (body(tensor(shape=[2, True])), "each 0 or more"),
        (body(tensor(shape=[10**15, 0, 10**15])), "more than"),
        (body(tensor(shape=[2, 4, 1], data=[1] * 8)), "has shape [2, 4, 1]"),
        (body(tensor(shape=[0, 4], data=[])), "has no rows"),
        (body(tensor(shape=[1001, 4], data=[1] * 4004)), "at most 1000"),
        (body(tensor(data=[1, 2, 3, 4, 5, 6, 7, "8"])), "are numbers"),
        (body(tensor(data=[1, 2, 3, 4, 5, 6, 7, True])), "are numbers"),
        (body(tensor(data=[[1, 2, 3], [4, 5, 6, 7, 8]])), "has not the shape"),
        (body(tensor(data=[1.5] * 8, datatype="INT8")), "are whole numbers"),
        (body(tensor(data=[300] * 8, datatype="INT8")), "beyond INT8"),
        (body(tensor(data=[1e300] * 8, datatype="FP32")), "NaN or infinity"),
        (body(tensor([[1.0] * 4, [1.0, 2.0, 1e31, 4.0]])), "row 1: /data/2"),
        (body(tensor([[1.0] * 3])), "at least 4"),
        (body({**ENTRY, "data": [1] * 4, "parameters": {"binary_data_size": 32}}), "give either"),
        (body(ENTRY), "give either"),
        (body({**ENTRY, "parameters": {"shared_memory_region": "x"}}), "shared memory is not offered"),
        (body({**ENTRY, "parameters": {"binary_data_size": 32}}), "32 bytes of binary data, and only 0"),
        (body(outputs=[{"name": "x"}]), "there is no output 'x'; the model gives 'forecast'"),
        (body(outputs=[{"name": "forecast", "parameters": {"classification": 2}}]), "unknown parameter"),
        (body(parameters={"window": "8"}), "/config/window"),
        (body(parameters={"windw": 8}), "did you mean 'window'"),
        (body(parameters={"timeout": -1}), "microseconds"),
        (body(parameters={"sequence_id": 5}), "no state"),
        (body(parameters={"binary_data_output": 1}), "true or false"),
        (body(id=5), "/id: must be a string"),
    ],
)
async def test_what_does_not_fit_is_an_error_of_the_protocol(shared, content, words):
    await refused(shared, content, words)


async def test_binary_data_that_does_not_fit(shared):
    content, headers = binary()
    await refused(shared, content + b"1", "1 bytes more", headers=headers)
    await refused(shared, content[:-1], "64 bytes of binary data, and only 63", headers=headers)
    await refused(shared, content, "must be a number of bytes", headers={HEADER_LENGTH: "x"})
    await refused(shared, content, "at most the body's", headers={HEADER_LENGTH: "9999"})
    await refused(shared, content, "zero-length", headers={HEADER_LENGTH: "0"})
    nan = np.array([[1.0, 2.0, np.nan, 4.0]])
    content, headers = binary(nan)
    await refused(shared, content, "row 0: NaN or infinity at [2]", headers=headers)
    content, headers = binary(ROWS.astype("f4"))  # announced as FP64
    await refused(shared, content, "has binary_data_size 64, not 32", headers=headers)


async def test_compression_that_does_not_fit(shared):
    good = gzip.compress(json.dumps(body(), default=list).encode())
    await refused(shared, b"no gzip", "does not decompress", headers={"Content-Encoding": "gzip"})
    await refused(shared, good[:-3], "not one whole gzip", headers={"Content-Encoding": "gzip"})
    await refused(shared, good + b"x", "not one whole gzip", headers={"Content-Encoding": "gzip"})
    await refused(shared, good, "send gzip, deflate or none", 415, headers={"Content-Encoding": "br"})
    bomb = gzip.compress(bytes(50_000_000))
    await refused(shared, bomb, "SATELLITE_MAX_BODY_BYTES", 413, headers={"Content-Encoding": "gzip"})


async def test_names_that_are_not_there(shared):
    await refused(shared, body(), "did you mean", 404, path="/v2/models/moving_averag/infer")
    path = f"/v2/models/{MODEL}/versions/9/infer"
    await refused(shared, body(), f"no version '9'; there are: {VERSION}", 404, path=path)
    for method, path, status in (("GET", "/v2/nope", 404), ("DELETE", INFER, 405), ("GET", INFER, 405)):
        answer = await shared.http.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


async def test_what_is_told_of_server_and_models(shared):
    async def get(path, method="GET"):
        return (await shared.http.request(method, f"/v2{path}")).json()

    assert "binary_tensor_data" in (await get(""))["extensions"]
    assert await get("/health/live") == {"live": True}
    assert (await get("/health/ready"))["ready"] and (await get(f"/models/{MODEL}/ready"))["ready"]
    metadata = await get(f"/models/{MODEL}")
    assert metadata == await get(f"/models/{MODEL}/versions/{VERSION}")
    assert metadata["versions"] == [VERSION]
    assert metadata["inputs"] == [{"name": "data", "datatype": "FP64", "shape": [-1, -1]}]
    assert metadata["outputs"] == [{"name": "forecast", "datatype": "FP64", "shape": [-1, -1]}]
    assert (await get(f"/models/{MODEL}/config"))["input"][0]["data_type"] == "TYPE_FP64"
    (entry,) = await get("/repository/index", "POST")
    assert entry == {"name": MODEL, "version": VERSION, "state": "READY", "reason": ""}


async def test_it_waits_as_long_as_the_caller_says_and_no_longer_than_it_is_there(node):
    node.replica.gate.clear()
    await refused(node, body(parameters={"timeout": 20_000}), "no answer within 0.02 s", 504)
    running = asyncio.create_task(node.http.post(PREDICT, json=job_body(9)))
    with pytest.raises(httpx.TimeoutException):
        async with httpx.AsyncClient(base_url=node.url, timeout=0.5) as http:
            await http.post(INFER, json=body(tensor(shape=[2, 4])))
    await eventually(lambda: [request.is_wanted() for request in waiting(node)] == [True, False, False])
    node.replica.gate.set()
    assert (await running).status_code == 200


async def test_a_model_without_a_replica_is_not_ready(node, monkeypatch):
    monkeypatch.setattr(node.context.cluster, "deployments", dict)
    for path in ("/v2/health/ready", f"/v2/models/{MODEL}/ready"):
        answer = await node.http.get(path)
        assert (answer.status_code, list(answer.json())) == (503, ["error"])
    assert (await node.http.post("/v2/repository/index")).json()[0]["state"] == "UNAVAILABLE"


@pytest.mark.parametrize("path", ["infer", f"versions/{VERSION}/infer"])
async def test_inference_goes_past_fastapi_under_the_same_name(node, monkeypatch, path):
    app = Application(node.context)
    name = f"/v2/models/{{model_name}}/{path.replace(VERSION, '{model_version}')}"
    scope = {"type": "http", "method": "POST", "path": f"/v2/models/{MODEL}/{path}"}
    assert get_asgi_route_name(app, scope) == name

    async def fail(*_):
        raise AssertionError("FastAPI was asked")

    monkeypatch.setattr(type(app.fastapi), "__call__", fail)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        assert (await http.post(scope["path"], json=body(tensor(shape=[2, 4])))).status_code == 200


async def test_the_description_knows_it(shared):
    described = (await shared.http.get("/openapi.json")).json()
    operation = described["paths"]["/v2/models/{model_name}/infer"]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert {"ProtocolError", "InferRequestBody", "InferAnswer"} <= set(described["components"]["schemas"])


class Many(BaseModel):
    name: str
    series: list[list[float]]
    extra: dict[str, int] | None = None


@pytest.fixture
def many():
    @register_model("many")
    class _Many:
        version = "2"
        Input = Many

        class Config(BaseModel, extra="forbid"):
            fail: bool = Field(False)

        class Output(BaseModel):
            name: str
            lengths: list[int]
            by_level: dict[str, list[float]]

        example = {"data": {"name": "a", "series": [[1.0]]}}  # noqa: RUF012

        def load(self, device): ...

        def infer_batch(self, inputs):
            return [
                ValueError("as asked")
                if item.config.fail
                else self.Output(
                    name=f"{item.data.name}{item.data.extra or ''}",
                    lengths=[len(row) for row in item.data.series],
                    by_level={"0.5": [row[0] for row in item.data.series]},
                )
                for item in inputs
            ]

    yield registered()["many"]
    forget("many")


async def test_fields_of_objects_are_tensors(database_url, redis, many):
    series = {"name": "series", "shape": [2, 1, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
    names = {"name": "name", "shape": [2], "datatype": "BYTES", "data": ["ä", "b"]}
    extra = {"name": "extra", "shape": [2], "datatype": "BYTES", "data": ['{"k":1}', "null"]}
    outputs = [{"name": name} for name in ("name", "lengths", "by_level", "by_level.0.5")]
    async with serve(database_url, redis.url, spec=many) as node:
        answer = await infer(node, {"inputs": [names, series, extra], "outputs": outputs})
        got = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        assert got == {
            "name": ["ä{'k': 1}", "b"],
            "lengths": [2, 2],
            "by_level": ['{"0.5":[1.0]}', '{"0.5":[3.0]}'],
            "by_level.0.5": [1.0, 3.0],
        }
        await refused(node, {"inputs": [names, series | {"shape": [1, 2, 2]}]}, "as many rows")
        await refused(node, {"inputs": [names, series, extra | {"data": ["{", ""]}]}, "JSON texts")
        bad = {"inputs": [names, series], "outputs": [{"name": "by_level.0.9"}]}
        await refused(node, bad, "there are: 0.5")
        failing = {"inputs": [names, series], "parameters": {"fail": True}}
        await refused(node, failing, "row 0: many raised ValueError", 500)


NEARLY = st.fixed_dictionaries(
    {
        "name": st.just("data"),
        "shape": st.lists(st.integers(0, 5), max_size=3) | st.just([4]),
        "datatype": st.sampled_from(["FP64", "INT8", "BYTES", "BOOL", "x"]),
    },
    optional={
        "data": st.lists(st.floats(-9, 9) | st.integers(-200, 200), min_size=4, max_size=5) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40)}) | JSON,
    },
)
BODIES = st.fixed_dictionaries(
    {"inputs": st.lists(NEARLY | JSON, max_size=2)},
    optional={"id": JSON, "outputs": st.lists(JSON, max_size=2), "parameters": JSON, "x": JSON},
)


@BOUNDED
@given(
    value=BODIES | JSON,
    raw=st.binary(max_size=40),
    length=st.none() | st.integers(0, 50) | st.just(-1),
    encoding=st.sampled_from(["", "gzip", "deflate", "x"]),
)
async def test_any_request(shared, value, raw, length, encoding):
    head = json.dumps(value).encode()
    headers = {} if length is None else {HEADER_LENGTH: str(len(head) if length == -1 else length)}
    answer = await infer(shared, head + raw, headers | {"Content-Encoding": encoding})
    assert answer.status_code in (200, 400, 415), answer.text
    assert answer.status_code == 200 or answer.json()["error"]
