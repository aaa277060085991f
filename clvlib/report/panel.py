"""A panel above a notebook in JupyterLab: other parameters, another week, a part of the shop, without touching a cell.

It runs the notebook's own cells with what is chosen, in the same kernel, and shows their output beneath. It appears in
JupyterLab alone: a notebook that the report, papermill, nbclient or nbval executes is as if the call were not there.
"""

from __future__ import annotations

import io
import os
import time
import tokenize
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from clvlib.data.calendar import Week
from clvlib.errors import ClvError, ReportError
from clvlib.report.parameters import Notebook, Parameter, checked, read_notebook
from clvlib.words import tr

__all__ = ["PART", "Panel", "panel"]

PART: Final = "only"  # the parameter that says which part of the shop, for Shop.where
_RED = "color: var(--jp-error-color1, #b00020)"
_shown: Panel | None = None


def panel(shop: Any) -> None:
    """Show the panel, and have changed modules loaded anew before each cell, where this is a notebook in JupyterLab.

    Everywhere else, and without ipywidgets, nothing is shown. The call stands in a notebook's second code cell, once
    the shop is there. The notebook is run as it was last saved.

    Parameters
    ----------
    shop : Shop
        Says which weeks and segments there are.
    """
    global _shown  # noqa: PLW0603 - the cells that a panel runs hold this call, and are not to show a second one
    if _shown is not None and _shown.running:
        _shown.offer(shop)
        return
    path = _path_in_lab()
    if path is None:
        return
    from IPython import get_ipython
    from IPython.display import HTML, display

    shell = get_ipython()
    if shell.extension_manager.load_extension("autoreload") is None:
        shell.run_line_magic("autoreload", "2")
    if find_spec("ipywidgets") is None:
        return
    try:
        _shown = Panel(path, shop, shell)
    except ReportError as error:
        display(HTML(_red(str(error))))  # type: ignore[no-untyped-call]
        return
    # without a text in its place the view is no output that nbval would compare, where somebody saves the notebook
    view = {kind: what for kind, what in _shown.box._repr_mimebundle_().items() if kind != "text/plain"}
    display(view, raw=True)  # type: ignore[no-untyped-call]


def _path_in_lab() -> Path | None:
    """Return the notebook's path where a Jupyter server started this kernel for it.

    The server tells the path to its kernels by an environment variable, which all that is started from there inherits:
    papermill in a cell, a report in a terminal. Hence the parent process must be a server that lists itself as running.
    """
    path = Path(os.environ.get("JPY_SESSION_NAME", ""))
    if path.suffix != ".ipynb" or not path.is_file():
        return None
    from jupyter_core.paths import jupyter_runtime_dir

    return path if (Path(jupyter_runtime_dir()) / f"jpserver-{os.getppid()}.json").is_file() else None


def _red(text: str) -> str:
    return f'<p role="alert" style="{_RED}">{escape(text)}</p>'


@dataclass(frozen=True)
class _Field:
    """A parameter on the panel: what shows it, how its value is read from there, and put there."""

    box: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]


class Panel:
    """The widgets of one notebook.

    Parameters
    ----------
    path : pathlib.Path
        The notebook.
    shop : Shop
        Says which weeks and segments there are.
    shell : IPython.core.interactiveshell.InteractiveShell
        Where cells are run; variables there give the first values.

    Attributes
    ----------
    box : ipywidgets.VBox
        All of it.
    fields : dict of str to _Field
        By parameter.
    run, reset : ipywidgets.Button
        Run the cells; back to the notebook's defaults.
    message : ipywidgets.HTML
        What is going on, or why not.
    output : ipywidgets.Output
        What the cells showed.
    running : bool
        Whether cells are being run.

    Raises
    ------
    ReportError
        The file is no notebook with a parameters cell.
    """

    def __init__(self, path: Path, shop: Any, shell: Any) -> None:
        import ipywidgets as w  # type: ignore[import-untyped]

        self.running = False
        self._path, self._shell = path, shell
        book = read_notebook(path)
        self._weeks = w.Dropdown()
        self._parts: dict[str, Any] = {}
        self._part_box = w.Box(layout=w.Layout(flex_flow="row wrap"))
        self.fields = {name: self._field(parameter) for name, parameter in book.parameters.items()}
        self.run = w.Button(description=tr("Run"), button_style="primary", icon="play")
        self.reset = w.Button(description=tr("Reset"), icon="undo")
        self.message, self.output = w.HTML(), w.Output()
        self.run.on_click(lambda _: self._run())
        self.reset.on_click(lambda _: self._write({}))
        self.box = self._laid_out(_comments(book))
        self.offer(shop)
        self._write(shell.user_ns)

    def _field(self, parameter: Parameter) -> _Field:
        import ipywidgets as w

        if parameter.name == "week":
            return _Field(self._weeks, lambda: self._weeks.value, lambda value: _choose(self._weeks, value))
        if parameter.name == PART:
            return _Field(self._part_box, self._part, self._write_part)
        kinds = {bool: w.Checkbox, int: w.IntText, float: w.FloatText, str: w.Text}
        if get_origin(parameter.kind) is Literal:
            widget = w.Dropdown(options=get_args(parameter.kind))
        elif parameter.kind in kinds:
            widget = kinds[parameter.kind]()
        else:  # lists and the like are typed as Python writes them, and read as on the command line
            text = w.Text()
            return _Field(text, lambda: text.value, lambda value: setattr(text, "value", repr(value)))
        return _Field(widget, lambda: widget.value, lambda value: setattr(widget, "value", value))

    def _part(self) -> dict[str, str]:
        return {column: choice.value for column, choice in self._parts.items() if choice.value is not None}

    def _write_part(self, part: Mapping[str, str]) -> None:
        for column in part:
            self._add(column)
        for column, choice in self._parts.items():
            _choose(choice, part.get(column))

    def _add(self, column: str) -> Any:
        """Return the choice for a column, a new one where there was none."""
        import ipywidgets as w

        if column not in self._parts:
            self._parts[column] = w.Dropdown(options=[(tr("all"), None)], description=column)
            self._part_box.children = tuple(self._parts.values())
        return self._parts[column]

    def _write(self, values: Mapping[str, Any]) -> None:
        """Show values, and the notebook's defaults where there is none that fits."""
        book = read_notebook(self._path)
        for name in self.fields.keys() & book.parameters.keys():
            try:
                value = checked([book], {name: values[name]})[book.name][name]
            except (KeyError, ClvError):
                value = book.parameters[name].default
            self.fields[name].write(value)

    def _laid_out(self, comments: Mapping[str, str]) -> Any:
        import ipywidgets as w

        rows = []
        for name, field in self.fields.items():
            if name not in {"week", PART}:
                field.box.description, field.box.style.description_width = name, "9em"
                rows.append(w.HBox([field.box, w.HTML(f"<small>{escape(comments.get(name, ''))}</small>")]))
        self._weeks.description = tr("Week")
        folds = {tr("Segment"): self._part_box} if PART in self.fields else {}
        folds |= {tr("Parameters"): w.VBox(rows)}
        first = [self._weeks] if "week" in self.fields else []
        return w.VBox(
            [
                w.HBox([*first, self.run, self.reset]),
                w.Accordion(list(folds.values()), titles=tuple(folds), selected_index=None),
                self.message,
                self.output,
            ]
        )

    def offer(self, shop: Any) -> None:
        """Let the weeks and segments of a shop be chosen from."""
        whole = shop.whole
        weeks = [(week.label, week.label) for week in _weeks(whole)]
        _options(self._weeks, [(tr("last complete week"), ""), *weeks])
        divided = whole.segments() if PART in self.fields else {}
        for column in {**divided, **self._parts}:
            named = [(value or tr("not known"), value) for value in divided.get(column, ())]
            _options(self._add(column), [(tr("all"), None), *named])

    def _run(self) -> None:
        """Run the notebook with what is chosen, or say why not."""
        try:
            book = read_notebook(self._path)
            chosen = {name: field.read() for name, field in self.fields.items() if name in book.parameters}
            values = checked([book], chosen)[book.name]
        except ClvError as error:
            self.message.value = _red(str(error))
            return
        self.running, self.run.disabled, started = True, True, time.monotonic()
        try:
            self.output.clear_output()
            with self.output:
                failed = self._cells(book, values)
            said = tr("Stopped in “{section}”; what comes after was not run.", section=failed) if failed else ""
            done = tr(
                "Ran in {seconds:.1f} s. The cells below still show what they were run with before.",
                seconds=time.monotonic() - started,
            )
            self.message.value = _red(said) if said else f"<p>{escape(done)}</p>"
        finally:
            self.running = self.run.disabled = False

    def _cells(self, book: Notebook, values: Mapping[str, Any]) -> str:
        """Run what is below the parameters; return the section of the first error, beyond which nothing is run."""
        from IPython.display import Markdown, display

        self._shell.user_ns.update(values)
        for section, cell in _below(book):
            if cell.cell_type == "markdown":
                display(Markdown(cell.source))  # type: ignore[no-untyped-call]
                continue
            self.message.value = f"<p>{escape(tr('Running “{section}” …', section=section))}</p>"
            self._shell.set_custom_exc((Exception,), _show_error(section))
            try:
                result = self._shell.run_cell(cell.source)
            finally:
                self._shell.set_custom_exc((), None)
            if not result.success:
                return section
        return ""


def _weeks(shop: Any) -> Iterator[Week]:
    """Give the weeks of the data, the latest first."""
    first, week = shop.date_range[0], Week.containing(shop.data_until)
    while week.as_of >= first:
        yield week
        week = week.previous


def _options(choice: Any, options: list[tuple[str, Any]]) -> None:
    """Let one choose among other things, and keep what is chosen."""
    before = choice.value
    choice.options = options
    if before is not None:
        _choose(choice, before)


def _choose(choice: Any, value: Any) -> None:
    if value not in [known for _, known in choice.options]:
        choice.options = [*choice.options, (str(value), value)]
    choice.value = value


def _comments(book: Notebook) -> dict[str, str]:
    """Return what the parameters cell says of each parameter."""
    source = next(cell.source for cell in book.node.cells if "parameters" in cell.metadata.get("tags", []))
    lines = source.splitlines()
    said = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            said[lines[token.start[0] - 1].partition(":")[0].strip()] = token.string.lstrip("# ")
    return said


def _below(book: Notebook) -> Iterator[tuple[str, Any]]:
    """Give the cells below the parameters, each with the heading that it stands under."""
    heading, below = book.name, False
    for cell in book.node.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            heading = cell.source.splitlines()[0].lstrip("# ")
        if below and cell.cell_type in {"code", "markdown"} and "injected-parameters" not in tags:
            yield heading, cell
        below = below or "parameters" in tags


def _show_error(section: str) -> Callable[..., None]:
    """Return what shows an error where it happened: a line for one of ours, which says all, else a traceback too."""

    def show(_shell: Any, _kind: type, error: Exception, *_: Any, **__: Any) -> None:
        from IPython.display import HTML, display

        ours = isinstance(error, ClvError)
        reason = str(error) if ours else f"{type(error).__name__}: {error}"
        html = _red(tr("{section}: {reason}", section=section, reason=reason))
        if not ours:
            behind = error.__traceback__ and error.__traceback__.tb_next  # from the cell on, not from IPython
            lines = escape("".join(traceback.format_exception(type(error), error, behind)))
            html += f"<details><summary>{escape(tr('Traceback'))}</summary><pre>{lines}</pre></details>"
        display(HTML(html))  # type: ignore[no-untyped-call]

    return show
