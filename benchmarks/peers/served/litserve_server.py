"""LitServe: `python -m benchmarks.peers.served.litserve_server PORT BATCH_TIMEOUT_S`."""

from __future__ import annotations

import sys

import litserve

from benchmarks import lstm64


class Forecast(litserve.LitAPI):
    """The comparison's model."""

    def setup(self, device: str) -> None:
        self._forecast = lstm64.load()

    def decode_request(self, request: dict[str, list[float]]) -> list[float]:
        return request["series"]

    def batch(self, inputs: list[list[float]]) -> list[list[float]]:
        return inputs

    def predict(self, batch: list[list[float]]) -> list[list[float]]:
        return self._forecast(batch)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"forecast": output}


def main(port: str, batch_timeout_s: str) -> None:
    api = Forecast(max_batch_size=8, batch_timeout=float(batch_timeout_s))
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=600, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=2,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
