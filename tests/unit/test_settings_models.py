"""Which models are deployed: SATELLITE_MODELS, and `enabled` of their configs."""

import pytest

from satellite.settings import Settings


@pytest.mark.parametrize(
    "models, deployed",
    [
        (None, {"on"}),
        ("", {"on"}),
        ("all", {"on", "off"}),
        ("off", {"off"}),
        (" on , off ", {"on", "off"}),
    ],
)
def test_which_models_are_deployed(models: str | None, deployed: set[str]) -> None:
    settings = Settings(models=models)
    enabled = {"on": True, "off": False}
    assert {name for name in enabled if settings.deploys(name, enabled[name])} == deployed
