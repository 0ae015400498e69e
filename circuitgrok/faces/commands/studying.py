"""The command that lays the template of an analysis: new-study."""

import os
import re
from pathlib import Path
from typing import Annotated

from circuitgrok.errors import UserError
from circuitgrok.faces.flags import REQUIRED, parse, positional
from circuitgrok.text import show

TEMPLATE = Path(__file__).parents[2] / "study" / "template.txt"


def new_study(argv: list[str]) -> int:
    """Lay a small analysis that runs, to be changed into one's own."""
    options = parse(
        "circuitgrok new-study",
        "Lay NAME.py: a question, arms, claims that are declared before the runs, and a picture. It runs as it is.",
        {
            "name": (Annotated[str, positional()], REQUIRED, "the file's name, such as my_question"),
            "question": (str, "Does weight decay make a network grok?", "the question, one sentence"),
            "out": (str, "", "the folder; analyses/ where there is one, else here"),
        },
        argv,
    )
    name = options.name.removesuffix(".py")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"name must be small letters, digits and _, such as my_question; got {options.name!r}")
    if '"' in options.question or "\\" in options.question or "\n" in options.question:
        raise UserError(f'question must be one line without " and \\; got {options.question!r}')
    folder = Path(os.path.expanduser(options.out) or ("analyses" if Path("analyses").is_dir() else "."))
    path = folder / f"{name}.py"
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: make it first, or choose another --out")
    text = TEMPLATE.read_text("utf-8").replace("QUESTION", options.question).replace("NAME.py", path.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path} is there already: choose another name") from None
    show(f"{path}: try `python {path} --quick`, then change it")
    return 0
