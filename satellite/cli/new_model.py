"""`satellite new-model`: writes a model that works, its test and its config, to be changed by its author."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from rich.markup import escape

from satellite.cli.check_model import files_of
from satellite.cli.console import CommandFailed, console, print_json
from satellite.model import name_problem
from satellite.settings import Settings

EXAMPLE_BODY = '"data":[1.2,2.3,3.1,2.8,3.5],"config":{"forecast_steps":2}'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where the three files go."""

    model: Path
    test: Path
    config: Path


def create(settings: Settings, name: str, into: Path | None, *, as_json: bool) -> None:
    """Writes the files and says what to do next.

    Args:
        settings: the root, and the further folders of models.
        name: of the model.
        into: the folder; left out: the first of `SATELLITE_MODELS_PATH`, else `models/`.
        as_json: print where the files are, and no advice.

    Raises:
        CommandFailed: the name is malformed or taken, or a file is there; nothing was written.
    """
    if problem := name_problem(name):
        raise CommandFailed(f"{problem}.")
    folder = (into or (settings.models_path or settings.model_folders)[0]).expanduser().absolute()
    if taken := files_of(settings, name, folder):
        raise CommandFailed(f"The model name '{name}' is taken by {taken[0]}: choose another.")
    places = _places(settings, folder, name)
    # A package of the same name would be imported in the model's place.
    for path in (places.model, places.model.with_suffix(""), places.test, places.config):
        if path.exists():
            raise CommandFailed(f"{path} exists, and nothing is overwritten: choose another name.")
    way = Path(os.path.relpath(places.model, places.test.parent)).parts
    words = {
        "name": name,
        "class_name": "".join(part[:1].upper() + part[1:] for part in re.split("[_-]", name)),
        "levels_up": way.count(".."),
        "file": "/".join(part for part in way if part != ".."),
    }
    for path, template in (
        (places.model, "model.py.txt"),
        (places.test, "test_model.py.txt"),
        (places.config, "config.yaml.txt"),
    ):
        text = (files("satellite.cli") / "templates" / template).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
    if as_json:
        print_json({"name": name, **asdict(places)})
    else:
        _tell(settings, name, folder, places)


def _places(settings: Settings, folder: Path, name: str) -> _Places:
    stem = name.replace("-", "_")
    configs = settings.model_configs(folder)
    at_home = configs.parent != folder
    tests = settings.root / "tests" / "unit" if at_home else folder / "tests"
    return _Places(
        model=folder / f"{stem}.py", test=tests / f"test_{stem}.py", config=configs / f"{name}.yaml"
    )


def _tell(settings: Settings, name: str, folder: Path, places: _Places) -> None:
    console.print(
        f"[green]Written:[/] a model that answers {escape(name)!r} already, its test and its config."
    )
    for path in (places.model, places.test, places.config):
        print(f"  {path}")
    print("\nMake it yours, then:")
    known = {known.resolve() for known in settings.model_folders}
    if folder.resolve() not in known:
        path = os.pathsep.join(map(str, (*settings.models_path, folder)))
        print(f"  export SATELLITE_MODELS_PATH={path}")
    print(f"  satellite check-model {name}")
    print(f"  python -m pytest {places.test}")
    print("  satellite up        # or, if it is up: satellite deploy")
    print(f"  curl -s -X POST {settings.api_url}/api/v1/inference/predict \\")
    print(f"""    -H 'Content-Type: application/json' -d '{{"model_name":"{name}",{EXAMPLE_BODY}}}'""")
