"""Plain Ray Serve: a FastAPI ingress that calls a batched model."""

from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve.handle import DeploymentHandle

from benchmarks import lstm64

api = FastAPI(openapi_url=None)


class Series(BaseModel):
    """A request."""

    series: list[float]


class Forecast(BaseModel):
    """An answer."""

    forecast: list[float]


# Serve lets 5 requests into a replica by default: fewer than a batch.
@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.25})
class Model:
    """The comparison's model."""

    def __init__(self) -> None:
        self._forecast = lstm64.load()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
    async def __call__(self, series: list[list[float]]) -> list[list[float]]:
        return self._forecast(series)


@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.25})
@serve.ingress(api)
class Ingress:
    """The front."""

    def __init__(self, model: DeploymentHandle) -> None:
        self._model = model

    @api.post("/predict")
    async def predict(self, request: Series) -> Forecast:
        return Forecast(forecast=await self._model.remote(request.series))


app = Ingress.bind(Model.bind())
