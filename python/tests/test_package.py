"""The package itself: what it imports, and its stubs."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fuseline
from fuseline import _fuseline

FOLDER = Path(fuseline.__file__).parent
HEAVY = ("pyarrow", "numpy", "pandas", "polars", "torch")


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_is_light():
    code = f"""
        import sys, fuseline
        print(*(name for name in {HEAVY} if name in sys.modules))
    """
    assert run_python(code) == []


def test_queries_import_only_what_they_need():
    code = f"""
        import sys, fuseline
        loaded = lambda: [name for name in {HEAVY} if name in sys.modules]
        with fuseline.connect(threads=1) as con:
            result = con.sql("SELECT value AS v FROM range(0, $n)", n=5)
            result.fetchall(), result.fetchone(), result.explain(), result._repr_html_()
            result.profile()
            assert loaded() == [], loaded()
            result.to_numpy()
            assert loaded() == ["numpy"], loaded()
            arange = sys.modules["numpy"].arange
            table = {{"v": arange(3), "w": arange(6)[::2]}}
            con.register("t", table)
            con.sql("SELECT sum(v + w) FROM t").fetchall()
            assert loaded() == ["numpy"], loaded()
    """
    run_python(code)


def test_the_command_imports_neither_pyarrow_nor_numpy():
    code = f"""
        import sys
        from fuseline import _cli
        sys.argv = ["fuseline", "--format", "csv", "SELECT 1 AS a"]
        try:
            _cli.main()
        except SystemExit as end:
            assert end.code == 0, end
        print(*(name for name in {HEAVY} if name in sys.modules))
    """
    assert run_python(code) == ["a", "1"]


def stubs(name):
    """Public names of a stub, and of each class in it."""
    tree = ast.parse((FOLDER / name).read_text())
    names, classes = set(), {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname for a in node.names if a.asname == a.name}
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            classes[node.name] = {
                item.name: item for item in node.body if isinstance(item, ast.FunctionDef)
            }
    return {name for name in names if not name.startswith("_") or name == "__version__"}, classes


def test_every_public_name_has_a_stub_and_the_reverse():
    names, _ = stubs("__init__.pyi")
    assert names == set(fuseline.__all__) | {"__version__"}
    names, _ = stubs("_fuseline.pyi")
    assert names == {name for name in dir(_fuseline) if not name.startswith("_")}


def members(cls):
    """What a class of the extension defines itself, without what every object has."""
    plain = set(dir(object)) | {"__module__", "__doc__"}
    return {name for name in vars(cls) if name not in plain}


CLASSES = [
    name
    for name in dir(_fuseline)
    if isinstance(getattr(_fuseline, name), type)
    and not issubclass(getattr(_fuseline, name), Exception)
]


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_has_a_stub_and_the_reverse(name):
    _, classes = stubs("_fuseline.pyi")
    stub = set(classes[name]) - {"__init__", "__repr__"}
    assert stub == members(getattr(_fuseline, name))


@pytest.mark.parametrize("name", CLASSES)
def test_signatures_agree_with_the_stubs(name):
    import inspect

    _, classes = stubs("_fuseline.pyi")
    checked = 0
    for method, stub in classes[name].items():
        real = getattr(getattr(_fuseline, name), method, None)
        if method.startswith("__") or not callable(real):
            continue
        signature = inspect.signature(real)
        arguments = stub.args
        expected = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
        expected += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
        assert sorted(signature.parameters) == sorted(expected), method
        checked += 1
    assert checked or name == "RecordBatches"


@pytest.mark.parametrize("name", fuseline.__all__)
def test_everything_public_is_documented(name):
    thing = getattr(fuseline, name)
    assert thing.__doc__
    for member, value in vars(thing).items() if isinstance(thing, type) else ():
        if not member.startswith("_") and callable(value):
            assert value.__doc__, f"{name}.{member}"
