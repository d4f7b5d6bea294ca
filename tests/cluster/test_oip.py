"""Triton's own client, unchanged, against the real system."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

MODEL, VERSION = "moving_average", "1.0.0"
ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]])


@pytest.fixture
def client(system):
    with triton.InferenceServerClient(system.url.removeprefix("http://"), concurrency=4) as client:
        yield client


def data(array, *, binary):
    tensor = triton.InferInput("data", list(array.shape), "FP32" if array.dtype == np.float32 else "FP64")
    return [tensor.set_data_from_numpy(array, binary_data=binary)]


def test_what_the_server_says_of_itself(client):
    assert client.is_server_live() and client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert {entry["name"] for entry in client.get_model_repository_index()} >= {MODEL, "lstm_timeseries"}
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, VERSION)
    assert not client.is_model_ready(MODEL, "none")
    metadata = client.get_model_metadata(MODEL, VERSION)
    assert metadata["inputs"] == [{"name": "data", "datatype": "FP64", "shape": [-1, -1]}]
    assert client.get_model_config(MODEL)["output"][0]["name"] == "forecast"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_a_batch_is_computed(client, binary, compression):
    answer = client.infer(
        MODEL,
        data(ROWS.astype(np.float32), binary=binary),
        outputs=[triton.InferRequestedOutput("forecast", binary_data=binary)],
        model_version=VERSION,
        request_id="mine",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
        parameters={"forecast_steps": 200},
    )
    assert answer.get_response()["id"] == "mine"
    assert (answer.as_numpy("forecast") == np.repeat([[2.5], [5.0]], 200, axis=1)).all()


def test_every_output_comes_unless_some_are_asked_for(client):
    parameters = {"forecast_steps": 3}
    answer = client.infer("lstm_timeseries", data(ROWS, binary=True), parameters=parameters)
    for output in client.get_model_metadata("lstm_timeseries")["outputs"]:
        assert len(answer.as_numpy(output["name"])) == 2
    median = [triton.InferRequestedOutput("quantiles.0.5")]
    one = client.infer("lstm_timeseries", data(ROWS, binary=True), outputs=median, parameters=parameters)
    assert np.allclose(one.as_numpy("quantiles.0.5"), answer.as_numpy("forecast"))
    assert one.as_numpy("forecast") is None


def test_many_at_once(client):
    waiting = [client.async_infer(MODEL, data(ROWS + i, binary=True)) for i in range(16)]
    for i, answer in enumerate(waiting):
        assert (answer.get_result().as_numpy("forecast")[0] == 2.5 + i).all()


@pytest.mark.parametrize(
    ("model", "array", "options", "status", "words"),
    [
        ("nope", ROWS, {}, "404", "there is no model 'nope'"),
        (MODEL, ROWS, {"model_version": "9"}, "404", "no version '9'"),
        (MODEL, ROWS[:, :3], {}, "400", "at least 4"),
        (MODEL, ROWS * np.nan, {}, "400", "NaN or infinity"),
        (MODEL, ROWS, {"parameters": {"windw": 3}}, "400", "did you mean 'window'"),
        (MODEL, np.ones((200, 4096)), {}, "413", "SATELLITE_MAX_BODY_BYTES"),
    ],
    ids=["model", "version", "too short", "nan", "parameter", "too large"],
)
def test_an_error_says_what_is_wrong(client, model, array, options, status, words):
    with pytest.raises(InferenceServerException, match=words) as caught:
        client.infer(model, data(array, binary=True), **options)
    assert caught.value.status() == status
