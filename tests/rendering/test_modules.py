"""Modules joined into one script: each once, dependencies first, and nothing that is left over."""

import re
from pathlib import Path

import pytest

from ift_gridworld.rendering import modules
from ift_gridworld.rendering.modules import joined_modules

LAB = Path(modules.__file__).parent / "lab"
TESTS = tuple(Path(__file__).parent.glob("test_lab_*.py"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(modules, "files", lambda package: tmp_path)
    (tmp_path / "lab").mkdir()

    def write(**sources):
        for name, source in sources.items():
            (tmp_path / "lab" / f"{name}.js").write_text(source, encoding="utf-8")

    return write


def test_dependencies_come_first_and_once(folder):
    folder(
        base="export const one = 1;\n",
        left='import { one } from "./base.js";\nexport function two() { return 2 * one; }\n',
        right='import * as base from "./base.js";\nexport class Three { value = base.one; }\n',
        top='import { two as double } from "./left.js";\nimport { Three } from "./right.js";\n'
        "const own = 1;\nexport { own };\n",
    )
    script = joined_modules("top")
    assert [*map(str, re.findall(r"^modules\.(\w+) = ", script, re.MULTILINE))] == ["base", "left", "right", "top"]
    assert "const { two: double } = modules.left;" in script
    assert "return { own };" in script
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


def test_a_circle_is_refused(folder):
    folder(one='import { b } from "./two.js";\n', two='import { a } from "./one.js";\n')
    with pytest.raises(ValueError, match="modules import each other: one -> two -> one"):
        joined_modules("one")


def test_what_is_not_joined_is_refused(folder):
    folder(one="export default 3;\n")
    with pytest.raises(ValueError, match="one.js has 'export default 3;', which is not joined"):
        joined_modules("one")


@pytest.mark.parametrize("path", sorted(LAB.glob("*.js")), ids=lambda path: path.stem)
def test_each_module_can_be_read_in_one_sitting(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 300


@pytest.mark.parametrize("path", sorted(LAB.glob("*.js")), ids=lambda path: path.stem)
def test_each_module_uses_what_it_imports_and_exports_what_is_used(path):
    source = path.read_text(encoding="utf-8")
    for imported in modules.IMPORT.findall(source):
        for name in re.findall(r"\w+(?=\s*[,}]|$)", imported[0]):
            assert len(re.findall(rf"\b{name}\b", source)) > 1, name
    others = "".join(other.read_text(encoding="utf-8") for other in [*LAB.iterdir(), *TESTS] if other != path)
    for name in modules.EXPORT.findall(source):
        assert re.search(rf"\b{name}\b", others), name
