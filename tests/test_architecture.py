"""The house: imports point one way, TensorFlow has two homes, functions fit a screen."""

import ast
import json
import pathlib

import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = {"prepare", "train", "evaluate", "predict", "export", "import_weights", "compare"}
FLOORS = (
    {"imaging", "configs"},
    {"models", "losses", "metrics", "data_generators"},
    {"training", "inference", "reports", "data_preparation"},
    {"commands"},
)
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
SIBLINGS = {
    ("data_preparation", "data_generators"),
    ("training", "inference"),
    ("training", "metrics"),
}
NO_KERAS = {"configs", "imaging", "data_preparation"}
READS_CONFIGURATIONS = {"configs", "commands"}
TENSORFLOW_HOMES = {"training", "data_generators"}
LIBRARY = sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))
ENTRIES = [PROJECT / f"{name}.py" for name in sorted(SCRIPTS)]


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PROJECT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def identify(path: pathlib.Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", LIBRARY, ids=identify)
def test_imports_point_downwards(path):
    room = room_of(path)
    for other in imported(ast.parse(path.read_text())) & (set(ROOMS) | SCRIPTS):
        if other == room or (room, other) in SIBLINGS:
            continue
        assert other not in SCRIPTS, f"{path} imports the script {other}"
        assert ROOMS[other] < ROOMS[room], f"{path}: {room} must not import {other}"


@pytest.mark.parametrize("path", LIBRARY + ENTRIES, ids=identify)
def test_tensorflow_is_imported_in_its_homes_and_inside_functions(path):
    tree = ast.parse(path.read_text())
    if "tensorflow" in imported(tree):
        assert room_of(path) in TENSORFLOW_HOMES
    top_level = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert "tensorflow" not in imported(top_level)


@pytest.mark.parametrize("path", [p for p in LIBRARY if room_of(p) in NO_KERAS], ids=identify)
def test_no_deep_learning_library_where_none_belongs(path):
    assert not imported(ast.parse(path.read_text())) & {"keras", "tensorflow", "jax", "torch"}


@pytest.mark.parametrize("path", LIBRARY + ENTRIES, ids=identify)
def test_files_and_functions_fit(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            body = (node.end_lineno or 0) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
            assert body <= 60, f"{node.name}: {body} lines"


@pytest.mark.parametrize("path", [p for p in LIBRARY if room_of(p) not in READS_CONFIGURATIONS], ids=identify)
def test_nobody_below_the_scripts_sees_a_configuration(path):
    tree = ast.parse(path.read_text())
    assert not imported(tree) & {"hydra", "omegaconf"}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            assert node.arg != "cfg", f"{path}:{node.lineno}"


def test_tests_lie_flat():
    assert not (PROJECT / "tests" / "__init__.py").exists()
    assert not [path for path in (PROJECT / "tests").iterdir() if path.is_dir() and list(path.glob("test_*.py"))]


def test_every_room_is_a_package():
    assert not [room for room in ROOMS if not (PROJECT / room / "__init__.py").is_file()]


@pytest.mark.parametrize("path", sorted(PROJECT.glob("*.ipynb")), ids=identify)
def test_notebooks_are_committed_without_outputs(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
