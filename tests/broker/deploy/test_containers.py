"""Container files by their form, where no container can run: instructions, keys and values that are
documented, files that are there, nothing that runs as root."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
DEPLOY = PROJECT / "broker" / "deploy"
CONTAINERS, ADD_ON = DEPLOY / "containers", DEPLOY / "home_assistant"
INSTRUCTIONS = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN", "SHELL",
    "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip
# The Compose Specification's attributes of a service that are in use here, with their forms.
SERVICE = {
    "build": dict, "cap_drop": list, "command": list, "depends_on": list, "environment": dict, "image": str,
    "init": bool, "networks": dict, "ports": list, "read_only": bool, "restart": str, "security_opt": list,
    "stop_grace_period": str, "tmpfs": list, "volumes": list,
}  # fmt: skip
# developers.home-assistant.io, "App configuration": required keys, and optional ones that are in use.
REQUIRED = {"name": str, "version": str, "slug": str, "description": str, "arch": list}
OPTIONAL = {
    "startup": str, "boot": str, "ports": dict, "ports_description": dict, "options": dict, "schema": dict, "timeout": int,
}  # fmt: skip
VALUES = {
    "arch": {"aarch64", "amd64"}, "boot": {"auto", "manual", "manual_only"},
    "startup": {"initialize", "system", "services", "application", "once"},
}  # fmt: skip


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return (instruction, its words) of a Dockerfile."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def sources(words: str) -> list[str]:
    return shlex.split(words)[:-1]


@pytest.mark.parametrize("path", [CONTAINERS / "Dockerfile", ADD_ON / "Dockerfile"], ids=["image", "add-on"])
def test_a_dockerfile_has_instructions_that_there_are(path: Path) -> None:
    found = instructions(path)
    assert {name for name, _ in found} <= INSTRUCTIONS and found[0][0] == "FROM"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", found[0][1])  # a version, not the newest of the day
    python = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert int(found[0][1].split(".")[1].split("-")[0]) >= int(python.partition("3.")[2])
    for name, words in found:
        if name in ("CMD", "ENTRYPOINT"):  # the form that makes signals reach the program
            assert all(isinstance(word, str) for word in json.loads(words))
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", words], check=True)


def test_the_image_has_all_that_is_installed_and_runs_as_nobody_special() -> None:
    found = instructions(CONTAINERS / "Dockerfile")
    copied = [source for name, words in found if name == "COPY" for source in sources(words)]
    assert all((PROJECT / source).exists() for source in copied)
    ignored = (CONTAINERS / "Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*" and {line[1:] for line in ignored if line[0] == "!"} == set(copied)
    users = [words for name, words in found if name == "USER"]
    assert users == ["hum"] and ("ENTRYPOINT", '["hum"]') in found and ("CMD", '["up"]') in found
    assert needed_packages() <= set(copied)


def needed_packages() -> set[str]:
    """Return the packages that `hum` imports, by its entry points."""
    points = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    entries = [points["scripts"]["hum"], *points["entry-points"]["hum.commands"].values()]
    return {entry.partition(".")[0] for entry in entries} | {"agent"}


def test_the_compose_file_is_of_documented_form() -> None:
    compose: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
    assert compose.keys() <= {"name", "services", "volumes", "x-hum"} and compose.keys() >= {"services", "volumes"}
    services = compose["services"]
    assert services.keys() == {"broker", "coordinator"}
    for name, service in services.items():
        assert service.keys() <= SERVICE.keys()
        assert all(isinstance(value, SERVICE[key]) for key, value in service.items())
        assert service["command"] == ["up", "--only", name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= compose["volumes"].keys()
        assert set(service.get("depends_on", [])) <= services.keys()
        assert service["environment"]["HUM_DIR"].startswith("/hum/")
        assert re.fullmatch(r"\d+s", service["stop_grace_period"])
    build = services["broker"]["build"]
    context = (CONTAINERS / build["context"]).resolve()
    assert context == PROJECT and (context / build["dockerfile"]).samefile(CONTAINERS / "Dockerfile")
    exposed = [words for name, words in instructions(CONTAINERS / "Dockerfile") if name == "EXPOSE"]
    assert services["broker"]["ports"] == [f"{port}:{port}" for port in exposed]


def test_the_add_ons_configuration_is_of_documented_form() -> None:
    found: dict[str, Any] = yaml.safe_load((ADD_ON / "config.yaml").read_text())
    known = REQUIRED | OPTIONAL
    assert REQUIRED.keys() <= found.keys() <= known.keys()
    assert all(isinstance(value, known[key]) for key, value in found.items())
    assert set(found["arch"]) <= VALUES["arch"] and found["boot"] in VALUES["boot"]
    assert found["startup"] in VALUES["startup"] and re.fullmatch(r"[-_.A-Za-z0-9]+", found["slug"])
    assert found["version"] == tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert found["ports"].keys() == found["ports_description"].keys()
    assert all(re.fullmatch(r"\d+/(tcp|udp)", port) for port in found["ports"])
    assert found["options"].keys() == found["schema"].keys()
    for name, form in found["schema"].items():
        pattern = re.fullmatch(r"match\((.*)\)", form)
        assert form == "str" or (pattern and re.match(pattern[1], found["options"][name])), form


def test_the_add_ons_script_reads_the_options_that_there_are(tmp_path: Path) -> None:
    script = ADD_ON / "run.sh"
    subprocess.run(["sh", "-n", script], check=True)
    options = yaml.safe_load((ADD_ON / "config.yaml").read_text())["options"]
    assert set(re.findall(r"\$\(option (\w+)\)", script.read_text())) == options.keys()


def test_the_add_ons_folder_is_made_whole(tmp_path: Path) -> None:
    """`make add-on`, in a copy of what it takes: the folder has all that its Dockerfile wants."""
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    for name in ("agent", "broker", "firmware", "host_sim"):
        (tmp_path / name).symlink_to(PROJECT / name)
    subprocess.run(["make", "-s", "add-on"], cwd=tmp_path, check=True, capture_output=True)
    made = tmp_path / "out" / "hum-add-on"
    for name, words in instructions(made / "Dockerfile"):
        if name == "COPY":
            assert all((made / source).exists() for source in sources(words))
    assert {path.name for path in made.iterdir()} >= {"config.yaml", "Dockerfile", "run.sh", "DOCS.md", "source"}
    assert {path.name for path in (made / "source").iterdir() if path.is_dir()} == {
        "agent",
        "broker",
        "firmware",
        "host_sim",
    }
    assert not list(made.rglob("__pycache__"))
