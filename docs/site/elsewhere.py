"""Names in our signatures that are not found as they stand, and where their pages are. No inventory is fetched.

A name of another package that is not here is a warning of the build, which says it: give it its line in `PAGES`.
"""

import sys
from typing import Any, ParamSpec, TypeVar

from docutils import nodes
from reference import HOMES

TORCH, PYTHON = "https://docs.pytorch.org/docs/stable", "https://docs.python.org/3/library"
PANDAS, MATPLOTLIB = "https://pandas.pydata.org/docs/reference/api", "https://matplotlib.org/stable/api"
BRIDGE = "transformer_lens.model_bridge.transformer_bridge.TransformerBridge"
PAGES = {
    "torch.Tensor": f"{TORCH}/tensors.html#torch.Tensor",
    "torch.Generator": f"{TORCH}/generated/torch.Generator.html",
    "torch.device": f"{TORCH}/tensor_attributes.html#torch.device",
    "torch.dtype": f"{TORCH}/tensor_attributes.html#torch.dtype",
    "torch.optim.Optimizer": f"{TORCH}/optim.html#torch.optim.Optimizer",
    BRIDGE: "https://transformerlensorg.github.io/TransformerLens/",
    "jaxtyping": "https://docs.kidger.site/jaxtyping/api/array/",
    "pandas.DataFrame": f"{PANDAS}/pandas.DataFrame.html",
    "pandas.Series": f"{PANDAS}/pandas.Series.html",
    "numpy.ndarray": "https://numpy.org/doc/stable/reference/generated/numpy.ndarray.html",
    "matplotlib.axes.Axes": f"{MATPLOTLIB}/_as_gen/matplotlib.axes.Axes.html",
    "matplotlib.figure.Figure": f"{MATPLOTLIB}/_as_gen/matplotlib.figure.Figure.html",
    "matplotlib.image.AxesImage": f"{MATPLOTLIB}/image_api.html#matplotlib.image.AxesImage",
    "pydantic.BaseModel": "https://docs.pydantic.dev/latest/api/base_model/",
    "pydantic.ValidationError": "https://docs.pydantic.dev/latest/errors/errors/",
    "pydantic.FieldInfo": "https://docs.pydantic.dev/latest/api/fields/",
    "rich.table.Table": "https://rich.readthedocs.io/en/stable/reference/table.html",
    "argparse.ArgumentParser": f"{PYTHON}/argparse.html#argparse.ArgumentParser",
    "fractions.Fraction": f"{PYTHON}/fractions.html#fractions.Fraction",
    "pathlib.Path": f"{PYTHON}/pathlib.html#pathlib.Path",
    "os.PathLike": f"{PYTHON}/os.html#os.PathLike",
    "types.NoneType": f"{PYTHON}/constants.html#None",
    "re.Pattern": f"{PYTHON}/re.html#re.Pattern",
    "concurrent.futures.Executor": f"{PYTHON}/concurrent.futures.html#concurrent.futures.Executor",
    "contextlib.AbstractContextManager": f"{PYTHON}/contextlib.html#contextlib.AbstractContextManager",
    "collections.abc": f"{PYTHON}/collections.abc.html",
}
WRITTEN = {  # as annotations have them
    "Tensor": "torch.Tensor",
    "torch._C.Generator": "torch.Generator",
    "torch.optim.optimizer.Optimizer": "torch.optim.Optimizer",
    "concurrent.futures._base.Executor": "concurrent.futures.Executor",
    "matplotlib.axes._axes.Axes": "matplotlib.axes.Axes",
    "pydantic.fields.FieldInfo": "pydantic.FieldInfo",
    "pydantic.main.BaseModel": "pydantic.BaseModel",
    "pydantic_core._pydantic_core.ValidationError": "pydantic.ValidationError",
    "pd.DataFrame": "pandas.DataFrame",
    "ndarray": "numpy.ndarray",
    "np.ndarray": "numpy.ndarray",
    "NoneType": "types.NoneType",
}


def found(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A link for a name that is documented under another, or by another package."""
    if node.get("refdomain") != "py":
        return None
    name = WRITTEN.get(str(node["reftarget"]), str(node["reftarget"]))
    if node["reftype"] == "obj":
        return contnode  # words in backticks that are no names
    if name in HOMES:
        domain = env.get_domain("py")
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"circuitgrok.{HOMES[name]}", node, contnode
        )
    if page := PAGES.get(name) or PAGES.get(name.rpartition(".")[0]):
        return nodes.reference("", "", contnode, internal=False, refuri=page, reftitle=name)
    module, _, last = name.rpartition(".")
    found = getattr(sys.modules.get(module), last, None)
    return contnode if len(name) == 1 or isinstance(found, TypeVar | ParamSpec) else None
