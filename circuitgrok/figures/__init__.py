"""Figures: functions draw finished numbers on the Axes they are given; `figures.NAME` finds each in its file.

Colours are Okabe and Ito's (told apart by colour-blind readers), lines differ in style too, axes carry
units. `save` writes PNG and SVG, or PDF, the same bytes for the same figure; `paper` makes a figure fit for print. A
figure at the end of a notebook's cell is shown there; nothing else is ever shown on a screen.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from circuitgrok.rooms import doors

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

    from circuitgrok.figures.fields import field_axis as field_axis
    from circuitgrok.figures.fields import places as places
    from circuitgrok.figures.many_runs import draw_band as draw_band
    from circuitgrok.figures.many_runs import draw_dots as draw_dots
    from circuitgrok.figures.many_runs import draw_groups as draw_groups
    from circuitgrok.figures.many_runs import draw_leads as draw_leads
    from circuitgrok.figures.many_runs import draw_runs as draw_runs
    from circuitgrok.figures.many_runs import draw_seeds as draw_seeds
    from circuitgrok.figures.many_runs import draw_shares as draw_shares
    from circuitgrok.figures.one_run import LOSS_UNITS as LOSS_UNITS
    from circuitgrok.figures.one_run import calibration_figure as calibration_figure
    from circuitgrok.figures.one_run import draw_accuracies as draw_accuracies
    from circuitgrok.figures.one_run import draw_losses as draw_losses
    from circuitgrok.figures.one_run import draw_polar as draw_polar
    from circuitgrok.figures.one_run import draw_roles as draw_roles
    from circuitgrok.figures.one_run import draw_spectrum as draw_spectrum
    from circuitgrok.figures.one_run import run_figure as run_figure
    from circuitgrok.figures.one_run import spectrum as spectrum
    from circuitgrok.figures.parts import parts_figure as parts_figure
    from circuitgrok.figures.phases import draw_classes as draw_classes
    from circuitgrok.figures.phases import draw_phases as draw_phases
    from circuitgrok.figures.phases import phase_figure as phase_figure
    from circuitgrok.figures.print_size import COLUMN as COLUMN
    from circuitgrok.figures.print_size import PAGE as PAGE
    from circuitgrok.figures.print_size import paper as paper
    from circuitgrok.figures.style import BLUE as BLUE
    from circuitgrok.figures.style import GREEN as GREEN
    from circuitgrok.figures.style import GREY as GREY
    from circuitgrok.figures.style import ORANGE as ORANGE
    from circuitgrok.figures.style import PURPLE as PURPLE
    from circuitgrok.figures.style import RED as RED
    from circuitgrok.figures.style import SKY as SKY
    from circuitgrok.figures.style import legend_above as legend_above
    from circuitgrok.figures.style import legends as legends
    from circuitgrok.figures.style import save as save
    from circuitgrok.figures.style import sheet as sheet
    from circuitgrok.figures.style import step_axis as step_axis
    from circuitgrok.figures.style import times_axis as times_axis
    from circuitgrok.figures.style import values_axis as values_axis
    from circuitgrok.figures.times import draw_survival as draw_survival
    from circuitgrok.figures.times import draw_times as draw_times
    from circuitgrok.figures.times import times_figure as times_figure

_HOMES = {
    "style": "BLUE GREEN GREY ORANGE PURPLE RED SKY legend_above legends save sheet step_axis times_axis values_axis",
    "one_run": "LOSS_UNITS calibration_figure draw_accuracies draw_losses draw_polar draw_roles draw_spectrum "
    "run_figure spectrum",
    "many_runs": "draw_band draw_dots draw_groups draw_leads draw_runs draw_seeds draw_shares",
    "print_size": "COLUMN PAGE paper",
    "parts": "parts_figure",
    "phases": "draw_classes draw_phases phase_figure",
    "fields": "field_axis places",
    "times": "draw_survival draw_times times_figure",
}
_FOUND = {name: home for home, names in _HOMES.items() for name in names.split()}
_inside, _names = doors(__name__)


def __getattr__(name: str) -> Any:
    if name not in _FOUND:
        return _inside(name)
    value = getattr(import_module(f"{__name__}.{_FOUND[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_FOUND, *_names()})
