"""How the package is built, read from its syntax trees: floors, doors, and no random state that is shared."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from loops import for_each

import circuitgrok

PACKAGE = Path(circuitgrok.__file__).parent
REPOSITORY = PACKAGE.parent
SOURCES = {str(file.relative_to(PACKAGE)): ast.parse(file.read_text("utf-8")) for file in PACKAGE.rglob("*.py")}

# A file imports from floors below its own, and from its own room. A new file needs its line here.
FLOORS: list[dict[str, list[str]]] = [
    {
        "text": ["text.py"],
        "errors": ["errors.py"],
        "surroundings": ["surroundings.py"],
        "version": ["version.py"],
        "canonical": ["canonical.py"],
        "rooms": ["rooms.py"],
        "onednn": ["onednn.py"],
    },
    {"tree": ["tree.py"], "device": ["device.py"]},
    {"apart": ["apart.py"]},
    {"geometry": ["geometry.py"], "select": ["select.py"]},
    {
        "tasks": ["tasks/"],
        "models": ["models/"],
        "interventions": ["interventions/"],
        "samplers": ["samplers/"],
    },
    {"exact": ["exact/"], "config": ["config/"], "measures": ["measures/"]},
    {"polar": ["polar/"], "store": ["store/"]},
    {"landscape": ["landscape/"], "training": ["training/"], "foreign": ["foreign/"]},
    {"table": ["table/"]},
    {"inspection": ["inspection/"]},
    {"figures": ["figures/"]},
    {"study": ["study/"], "kits": ["kits/"]},
    {"faces": ["__init__.py", "__main__.py", "faces/"]},
]
# A guest's only doors.
DOORS = {
    "matplotlib": ("figures/style.py",),
    "transformer_lens": ("foreign/lens.py",),
    "sklearn": (
        "measures/learning/probes.py",
        "measures/parts/matching.py",
        "measures/parts/modes.py",
        "tasks/images.py",
    ),  # fmt: skip
    "arviz_stats": ("samplers/diagnostics.py",),
    "distributed": ("training/clusters.py",),
    "submitit": ("training/slurm.py",),
    "torch.utils.tensorboard": ("training/tensorboard.py",),
    "anywidget": ("faces/inspector/widget.py",),
}
HEAVY = {*DOORS, "pandas", "scipy"}


def imports(tree: ast.AST, at_top: bool = False) -> Iterator[str]:
    """Every module that is imported when the code runs: not what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imports(other, at_top)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (_source(node.module, alias.name) for alias in node.names)
        elif not (at_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield from imports(node, at_top)


def _source(module: str, name: str) -> str:
    """`from package import module` imports the module."""
    path = PACKAGE.parent / Path(*module.split("."), name)
    inner = module.startswith("circuitgrok") and (path.with_suffix(".py").exists() or path.is_dir())
    return f"{module}.{name}" if inner else module


def place(file: str) -> tuple[int, str]:
    """The floor and room of a file."""
    found = [
        (floor, room)
        for floor, rooms in enumerate(FLOORS)
        for room, files in rooms.items()
        if any(file == known or (known.endswith("/") and file.startswith(known)) for known in files)
    ]
    assert len(found) == 1, f"{file} has no floor of its own: give it one in FLOORS"
    return found[0]


def file_of(module: str) -> str:
    """The file of a module of the package."""
    inside = "/".join(module.split(".")[1:])
    return f"{inside}.py" if f"{inside}.py" in SOURCES else f"{inside}/__init__.py" if inside else "__init__.py"


@for_each("file", SOURCES)
def test_file_imports_only_from_floors_below_and_its_own_room(file):
    floor, room = place(file)
    for module in imports(SOURCES[file]):
        if module.split(".")[0] == "circuitgrok":
            below, other = place(file_of(module))
            assert below < floor or (below, other) == (floor, room), f"{file} (floor {floor}) imports {module}"


def test_package_and_its_rooms_import_nothing_of_their_own_but_their_doors():
    for file in (name for name in SOURCES if name.endswith("__init__.py")):
        own = {module for module in imports(SOURCES[file]) if module.startswith("circuitgrok")}
        assert own == {"circuitgrok.rooms"}, file


@for_each(("guest", "doors"), DOORS.items())
def test_guest_comes_in_by_its_door(guest, doors):
    entered = {file for file, tree in SOURCES.items() if any(f"{m}.".startswith(f"{guest}.") for m in imports(tree))}
    assert entered <= {*doors}


@for_each("file", SOURCES)
def test_heavy_guests_are_imported_where_they_are_used(file):
    assert not HEAVY & {module.split(".")[0] for module in imports(SOURCES[file], at_top=True)}


def test_pyplot_is_never_imported():
    for file, tree in SOURCES.items():
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert "pyplot" not in names and not any("pyplot" in module for module in imports(tree)), file


def dotted(tree: ast.AST) -> set[str]:
    """Every dotted name in the code, such as torch.func.vmap."""
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | {
        f"{node.module}.{alias.name}" for node in imported for alias in node.names
    }


def test_bridges_never_meet_torch_func():
    """A functional call would replace the bridge's Parameters by plain tensors for good."""
    for file in ("foreign/lens.py",):
        assert not [name for name in dotted(SOURCES[file]) if name.startswith(("torch.func", "functorch"))]
    bridges = {file for file, tree in SOURCES.items() if "to_bridge" in ast.unparse(tree)}
    for file in bridges:
        assert not [name for name in dotted(SOURCES[file]) if name.startswith("torch.func")], file


SHARED_STATE = {
    "torch.manual_seed", "torch.seed", "torch.random.manual_seed", "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all", "numpy.random", "np.random", "torch.set_default_dtype",
}  # fmt: skip


@for_each("file", SOURCES)
def test_no_file_draws_from_or_seeds_a_shared_random_state(file):
    names = dotted(SOURCES[file])
    put_back = {"torch.set_default_dtype"} if file == "surroundings.py" else set()
    assert not SHARED_STATE & names - put_back
    assert not [name for name in names if name.startswith("random.") and not name.startswith("random.Random")]


@for_each("file", SOURCES)
def test_every_draw_of_torch_names_its_generator(file):
    draws = {"randn", "rand", "randint", "randperm", "normal", "bernoulli", "multinomial", "randn_like", "rand_like"}
    nodes = list(ast.walk(SOURCES[file]))
    dicts = [node for node in nodes if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    carrying = {ast.unparse(node.targets[0]) for node in dicts if "'generator': " in ast.unparse(node.value)}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("torch.") in draws:
            named = {keyword.arg or ast.unparse(keyword.value) for keyword in node.keywords}
            assert named & {"generator", *carrying}, f"{file}:{node.lineno}"


def test_nothing_is_unpickled():
    for file, tree in SOURCES.items():
        assert not {"pickle", "dill", "joblib"} & {module.split(".")[0] for module in imports(tree)}, file
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("weights_only") == "True", f"{file}:{node.lineno}"


def test_there_is_no_drawer_for_everything():
    assert not [file for file in SOURCES if Path(file).stem in ("utils", "util", "helpers", "common", "misc")]


def test_files_name_nothing_outside_the_repository():
    outside = ("../" + "shared", "/work" + "/")
    folders = [REPOSITORY / name for name in ("circuitgrok", "tests", "analyses")]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in (".py", ".md", ".ipynb")]
    files += [file for file in REPOSITORY.iterdir() if file.suffix in (".md", ".toml", ".py")]
    assert len(files) > 40
    naming = [str(file) for file in files if any(word in file.read_text("utf-8") for word in outside)]
    assert not naming


# Nothing that only tests call

Names = dict[str, set[str]]  # full names that each definition of the package asks for, by its own full name
KEPT = {
    "exact answers that estimates are held against": ("exact.learning_coefficients.normal_crossing_llc",),
    "what volumes, susceptibilities and densities around a point need": (
        "landscape.jacobian.gauss_newton_operator",
        "landscape.jacobian.symmetry_rank",
        "landscape.polar_hessian.sphere_hessian_operator",
        "samplers.sample.restored",
        "samplers.sample.saved",
    ),
    "functions for one question, of files that README.md names": (
        "measures.circuits.controls.agreement",
        "measures.circuits.controls.threshold_sensitivity",
        "measures.learning.probes.membership_probe",
        "measures.learning.probes.permuted_membership",
        "polar.profiles.polar_slice",
        "polar.profiles.reduced_landscape",
        "polar.trajectory.direction_pca",
        "polar.transplants.transplant",
    ),
}
TEXTS = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "analyses").rglob("*.ipynb")]


def module_of(file: str) -> str:
    return ".".join(["circuitgrok", *Path(file).with_suffix("").parts]).removesuffix(".__init__")


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        for target in node.targets if isinstance(node, ast.Assign) else ():
            yield from ((name.id, node) for name in ast.walk(target) if isinstance(name, ast.Name))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def local_names(tree: ast.Module, module: str) -> dict[str, str]:
    """The full names of what a file imports from the package, and of what it defines."""
    known = {name: f"{module}.{name}" for name, _ in definitions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: full for name, full in known.items() if full.startswith("circuitgrok")}


def asked_for(node: ast.AST, known: dict[str, str]) -> set[str]:
    """Full names that a piece of code mentions, also in annotations that are strings."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name | ast.Attribute):
            first, _, rest = ast.unparse(part).partition(".")
            full = ".".join(filter(None, [known.get(first, ""), rest]))
            found.add(SHORTER.get(full, full))
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
            found.add(known.get(part.value, ""))
    return found


# What a room gives by a shorter name than its file's.
SHORTER = {
    f"circuitgrok.figures.{name}": full
    for name, full in local_names(SOURCES["figures/__init__.py"], "circuitgrok.figures").items()
    if full.startswith("circuitgrok.figures.") and full.count(".") == 3
}


def used_by_package() -> tuple[Names, set[str]]:
    """What each definition asks for; and what is asked for by no definition, enters itself in a register, or opens.

    A decorator of the same file is taken for one that registers, and so is a class attribute `kind`.
    """
    inside: Names = {}
    outside = {f"circuitgrok.{home}.{name}" for name, home in circuitgrok._HOMES.items()}
    for file, tree in SOURCES.items():
        module = module_of(file)
        known = local_names(tree, module)
        owned = {id(node) for _, node in definitions(tree)}
        for name, node in definitions(tree):
            inside.setdefault(f"{module}.{name}", set()).update(asked_for(node, known) - {f"{module}.{name}"})
            registers = asked_for(ast.Module(getattr(node, "decorator_list", []), []), known)
            body = node.body if isinstance(node, ast.ClassDef) else ()
            is_kind = any(isinstance(part, ast.Assign) and ast.unparse(part).startswith("kind = ") for part in body)
            outside |= {f"{module}.{name}"} if is_kind or any(one.startswith(module) for one in registers) else set()
        for node in tree.body:
            if id(node) not in owned or file.endswith("__init__.py"):
                outside |= asked_for(node, known)
    for file in (REPOSITORY / "analyses").rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        outside |= asked_for(tree, local_names(tree, ""))
    return inside, outside


def reached(inside: Names, new: set[str]) -> set[str]:
    """All that some definitions lead to."""
    found = set()
    while new:
        found |= new
        new = {other for full in new for other in inside[full] if other in inside} - found
    return found


def test_every_public_name_is_used_by_more_than_tests_or_kept_for_a_reason():
    inside, outside = used_by_package()
    said = {word for file in TEXTS for word in re.findall(r"(?:\.|import |`)(\w+)", file.read_text("utf-8"))}
    used = reached(inside, {full for full in inside if full in outside or full.rpartition(".")[2] in said})
    kept = {f"circuitgrok.{name}" for names in KEPT.values() for name in names}
    assert kept <= inside.keys() and not kept & used
    unused = inside.keys() - used - reached(inside, kept)
    assert not sorted(full for full in unused if not full.rpartition(".")[2].startswith("_"))


def test_every_public_method_is_called_by_more_than_tests():
    trees = [
        *SOURCES.values(),
        *(ast.parse(file.read_text("utf-8")) for file in (REPOSITORY / "analyses").rglob("*.py")),
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    called = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    methods = [part for node in nodes if isinstance(node, ast.ClassDef) and node.name[0] != "_" for part in node.body]
    plain = [part for part in methods if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")]
    by_pydantic = {part.name for part in plain if "validator(" in " ".join(map(ast.unparse, part.decorator_list))}
    assert not sorted({part.name for part in plain} - by_pydantic - called)
