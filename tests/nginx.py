"""A real nginx, started the way the shipped configuration wants it."""

import contextlib
import os
import string
import subprocess
import time
from pathlib import Path

import httpx

from satellite.cli.ray_head import free_ports
from satellite.settings import REPO_ROOT
from tests.debian import program


class Nginx:
    """An nginx with the configuration that is shipped.

    Args:
        folder: for its files.
        upstreams: the nodes that serve, as lines `server HOST:PORT;`.
        site: another server beside the shipped one, as a user would write it.
        changes: what of the shipped server is written otherwise: old text, new text.
    """

    def __init__(self, folder: Path, upstreams: str, site: str = "", changes: dict[str, str] | None = None):
        (self.port,) = free_ports(1)
        self.url, self.ws_url = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}/api/v1/ws"
        (folder / "conf.d").mkdir()
        template = string.Template((REPO_ROOT / "nginx/satellite.conf.template").read_text())
        shipped = template.safe_substitute(
            SATELLITE_LISTEN=f"127.0.0.1:{self.port}", SATELLITE_UPSTREAMS=upstreams
        )
        for old, new in (changes or {}).items():
            assert old in shipped
            shipped = shipped.replace(old, new)
        (folder / "conf.d/satellite.conf").write_text(shipped.replace("/dev/stderr", str(folder / "stderr")))
        (folder / "conf.d/site.conf").write_text(site)
        shell = (REPO_ROOT / "nginx/nginx.conf").read_text()
        # What is a folder of the image's is one of the test's here.
        for ours in ("/etc/nginx/conf.d", "/tmp/nginx", "/dev/stdout", "/dev/stderr"):
            assert ours in shell
            shell = shell.replace(ours, str(folder / Path(ours).name))
        (folder / "nginx.conf").write_text(shell)
        command = [program("nginx", "nginx-light"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        # As root its workers would be `nobody`, who cannot enter pytest's folders.
        user = "user root; " if os.geteuid() == 0 else ""
        self._process = subprocess.Popen([*command, "-g", f"{user}daemon off;"])
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/nginx-health").status_code == 204:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self):
        self._process.terminate()
        self._process.wait(10)
