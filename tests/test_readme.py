"""What the README names exists, and the settings that it tells users to paste are valid."""

import itertools
import re
import shlex

import pytest
import typer
import yaml

from darkroom.commands.main import app
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from tests.harness import REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def section(title):
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title):
    return re.findall(r"^\| `(.+?)\|", section(title), re.MULTILINE)


def test_the_stages_are_those_of_dvc_in_order():
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert [row.rstrip("` ") for row in rows("The stages")] == list(stages)


def test_every_section_of_the_settings_is_explained(values):
    named = [name for row in rows("Parameters") for name in re.findall(r"\w+", row)]
    assert named == list(values)


def test_every_setting_that_is_named_exists(values):
    sections = "|".join(values)
    for key in re.findall(rf"`({sections})\.([\w.]+)`", TEXT):
        inner = values[key[0]]
        for part in key[1].split("."):
            assert part in inner, ".".join(key)
            inner = inner[part]


@pytest.mark.parametrize("command", [c for c in COMMANDS if " -S " in c])
def test_settings_to_paste_are_valid(command, values):
    words = shlex.split(command)
    for flag, override in itertools.pairwise(words):
        if flag == "-S":
            key, _, value = override.partition("=")
            *sections, name = key.split(".")
            inner = values
            for part in sections:
                inner = inner[part]
            assert name in inner
            inner[name] = yaml.safe_load(value)
    check_params(values, Params)


def test_every_command_is_known():
    targets = re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for command in COMMANDS:
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets
        elif words[:2] == ["python", "-m"]:
            assert (REPOSITORY / f"{words[2].replace('.', '/')}.py").exists()
        else:
            assert words[0] in {"dvc", "darkroom"}
    for module in re.findall(r"python -m ([\w.]+)", TEXT):
        assert (REPOSITORY / f"{module.replace('.', '/')}.py").exists()


def test_every_console_command_and_its_options_exist():
    known = typer.main.get_command(app).commands
    lines = [command for command in COMMANDS if command.startswith("darkroom ")]
    lines += re.findall(r"`(darkroom [^`]+)`", TEXT)
    for line in lines:
        _, name, *words = line.split()
        options = {text for each in known[name].params for text in each.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
    assert {"export", "predict", "purge"} <= {line.split()[1] for line in lines}


def test_every_link_and_code_path_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    code = re.findall(
        r"`((?:stages|darkroom|tools|benchmarks|tests|docs|\.ci|\.github)/[\w./]*)`", TEXT
    )
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    inside = {
        "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
    }
    paths = [link for link in links if not link.startswith("#")]
    assert [path for path in paths + code if not (REPOSITORY / path).exists()] == []
    assert [link for link in links if link.startswith("#") and link not in inside] == []


def test_every_output_is_declared():
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    declared = [
        item if isinstance(item, str) else next(iter(item))
        for stage in stages.values()
        for item in [*stage["outs"], *stage.get("metrics", [])]
    ]
    for row in rows("What comes out"):
        path = row.split("`")[0].rstrip("/").replace("*", "train")
        assert any(d.startswith(path) or path.startswith(f"{d}/") for d in declared), path
