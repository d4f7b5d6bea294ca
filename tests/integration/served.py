"""An ingress in a process of its own: the memory it uses and the lines it writes are its alone.

`python -m tests.integration.served DATABASE_URL REDIS_URL SETTINGS REPLACED` prints its address, and serves
until its standard input ends. Everything that any library logs goes to standard error, with all fields of the
records. `REPLACED` says which values of modules are others here: `{"module:NAME": value}`, or
`"=module:NAME"` for another module's.
"""

import asyncio
import importlib
import json
import logging
import sys

from tests.integration.conftest import serve


class Everything(logging.Formatter):
    """The line and its traceback, then whatever else the record holds."""

    def format(self, record):
        return f"{super().format(record)} {vars(record)!r}"


def found(value):
    if not (isinstance(value, str) and value.startswith("=")):
        return value
    module, _, name = value[1:].partition(":")
    return getattr(importlib.import_module(module), name)


async def main(database_url, redis_url, settings, replaced):
    for place, value in json.loads(replaced).items():
        module, _, name = place.partition(":")
        setattr(importlib.import_module(module), name, found(value))
    handler = logging.StreamHandler()
    handler.setFormatter(Everything("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    async with serve(database_url, redis_url, **json.loads(settings)) as node:
        print(node.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
