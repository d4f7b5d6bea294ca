"""MLServer: the comparison's model as a runtime of its own."""

from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks import lstm64


class Forecast(MLModel):
    """The comparison's model. MLServer hands over a batch as one request with more rows."""

    async def load(self) -> bool:
        self._forecast = lstm64.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        series = NumpyCodec.decode_input(payload.inputs[0])
        forecasts = np.asarray(self._forecast(series), dtype=np.float32)
        output = NumpyCodec.encode_output("forecast", forecasts)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
