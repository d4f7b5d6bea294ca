"""The framing of the Open Inference Protocol: what is written can be read, whatever it is."""

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from satellite.api.oip_wire import OutputTensor, compress, parse_infer, write_infer
from satellite.api.reading import decompress

KINDS = {"FP64": "<f8", "FP32": "<f4", "INT8": "<i1", "INT64": "<i8", "UINT16": "<u2", "BOOL": "?"}
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FINITE = {"allow_nan": False, "allow_infinity": False}


@st.composite
def tensors(draw):
    datatype = draw(st.sampled_from([*KINDS, "BYTES"]))
    if datatype == "BYTES":
        values = draw(arrays(object, draw(SHAPES), elements=TEXTS))
    else:
        values = draw(arrays(KINDS[datatype], draw(SHAPES), elements=FINITE if "FP" in datatype else None))
    return OutputTensor(name="x", datatype=datatype, values=values, binary=draw(st.booleans()))


@settings(max_examples=60, deadline=None)
@given(st.lists(tensors(), max_size=3), st.sampled_from(["", "gzip", "deflate"]))
def test_a_round_trip_keeps_every_tensor(sent, encoding):
    sent = [
        OutputTensor(name=str(i), datatype=t.datatype, values=t.values, binary=t.binary)
        for i, t in enumerate(sent)
    ]
    body, length = write_infer({}, sent)
    # An answer has the form of a request but for one word, which is as long as another.
    body = body.replace(b'"outputs"', b'"inputs" ', 1)
    packed, used = compress(body, encoding)
    body = decompress(packed, used or "", 10**6)
    got = parse_infer(body, None if length is None else str(length)).tensors
    assert list(got) == [tensor.name for tensor in sent]
    for tensor in sent:
        datatype, values = got[tensor.name]
        assert (datatype, values.shape) == (tensor.datatype, tensor.values.shape)
        assert np.array_equal(values, tensor.values)


def test_a_large_answer_is_compressed_as_the_caller_wishes():
    body = orjson.dumps([0] * 1000)
    assert compress(body, "br, gzip")[1] == "gzip"
    assert compress(body, "deflate")[1] == "deflate"
    assert compress(body, "br;q=1, identity") == (body, None)
    assert compress(b"{}", "gzip") == (b"{}", None)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_compressed_comes_back(encoding):
    body = orjson.dumps(list(range(1000)))
    assert decompress(compress(body, encoding)[0], encoding, len(body)) == body
