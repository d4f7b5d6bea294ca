"""The web page: what Vite has built into `satellite/page/`, or a plain page where it was not built.

The page finds everything by relative addresses and keeps its own place in the address's fragment, so it works
under any path that a proxy puts before it. Files below `assets/` have a hash of their content in their name:
they may be kept for ever. Where `NAME.br` or `NAME.gz` lies beside a file, who can read it gets that.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import re
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

BUILT = Path(__file__).parent.parent / "page"
PLAIN = Path(__file__).parent / "page.html"

IMMUTABLE = "public, max-age=31536000, immutable"
ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the smaller one first
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def install(app: FastAPI, built: Path = BUILT) -> None:
    """Serve the page at `/`.

    Args:
        app: the application.
        built: where the page lies, if it was built.
    """
    if not (built / "index.html").is_file():
        app.add_api_route("/", _plain, methods=["GET", "HEAD"], include_in_schema=False)
        return
    files = PageFiles(built)
    if (built / "assets").is_dir():
        assets = PageFiles(built / "assets", cache_control=IMMUTABLE)
        app.mount("/assets", assets, name="assets")

    async def index(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    async def beside(request: Request) -> Response:
        return await files.get_response(request.url.path.rpartition("/")[2], request.scope)

    app.add_api_route("/", index, methods=["GET", "HEAD"], include_in_schema=False)
    # Only what is there has a route: any other path stays a 404 problem.
    for file in sorted(built.iterdir()):
        hidden = file.name.startswith(".") or file.name == "index.html" or file.suffix in ENCODINGS.values()
        if file.is_file() and not hidden:
            app.add_api_route(f"/{file.name}", beside, methods=["GET", "HEAD"], include_in_schema=False)


class PageFiles(StaticFiles):
    """Starlette's static files, with the page's headers and compressed by whoever built them.

    Args:
        directory: the folder.
        cache_control: for how long they may be kept.
    """

    def __init__(self, directory: Path, *, cache_control: str = "no-cache") -> None:
        super().__init__(directory=directory)
        self._headers = {**headers(), "Cache-Control": cache_control}

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """A file, in the smallest encoding that there is and the caller reads."""
        sent = {**self._headers, "Vary": "Accept-Encoding"}
        media_type = mimetypes.guess_type(full_path)[0]
        request_headers = Headers(scope=scope)
        accepted = request_headers.get("accept-encoding", "")
        for encoding, suffix in ENCODINGS.items():
            packed = Path(f"{os.fspath(full_path)}{suffix}")
            if _accepts(accepted, encoding) and packed.is_file():
                full_path, stat_result = packed, packed.stat()
                sent["Content-Encoding"] = encoding
                break
        response = FileResponse(
            full_path, status_code, headers=sent, media_type=media_type, stat_result=stat_result
        )
        if self.is_not_modified(response.headers, request_headers):
            return NotModifiedResponse(response.headers)
        return response


def headers(script: str = "'self'") -> dict[str, str]:
    """What the browser is told to refuse.

    Args:
        script: where scripts may come from, as a Content-Security-Policy says it.
    """
    policy = {
        "default-src": "'self'",
        "script-src": script,
        "style-src": "'self' 'unsafe-inline'",  # the component library positions by inline styles
        "img-src": "'self' data:",
        "font-src": "'self' data:",
        "connect-src": "'self' ws: wss:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
    }


def _accepts(accepted: str, encoding: str) -> bool:
    """Whether an Accept-Encoding header names this encoding, and does not refuse it."""
    for part in accepted.split(","):
        name, _, weight = part.strip().partition(";")
        if name.strip().lower() == encoding:
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


async def _plain() -> FileResponse:
    # Its script stands in the page: the policy names it by its digest.
    digests = [hashlib.sha256(script).digest() for script in _SCRIPT.findall(PLAIN.read_bytes())]
    script = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return FileResponse(
        PLAIN, media_type="text/html", headers={**headers(script), "Cache-Control": "no-cache"}
    )
