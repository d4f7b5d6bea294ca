"""The API's description, without a server."""

from satellite.api import reference
from satellite.api.overview_schemas import MESSAGES
from satellite.cli import openapi
from satellite.settings import REPO_ROOT


def test_the_committed_document_is_the_one_of_today():
    committed = (REPO_ROOT / "frontend" / "openapi.json").read_text(encoding="utf-8")
    assert committed == openapi.text(), "run: .venv/bin/satellite openapi > frontend/openapi.json"


def test_the_committed_reference_is_the_one_of_today():
    committed = (REPO_ROOT / "docs" / "API_REFERENCE.md").read_text(encoding="utf-8")
    told = reference.render(openapi.document())
    assert committed == told, "run: .venv/bin/satellite openapi --markdown > docs/API_REFERENCE.md"


def test_every_message_of_the_websocket_is_described():
    schemas = openapi.document()["components"]["schemas"]
    refs = [part["$ref"].rpartition("/")[2] for part in schemas["WsMessage"]["oneOf"]]
    assert refs == [message.__name__ for message in MESSAGES]
    kinds = [schemas[name]["properties"]["type"]["const"] for name in refs]
    assert len(set(kinds)) == len(kinds)
