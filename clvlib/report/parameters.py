"""A notebook's parameters: read from its annotated cell, checked before any kernel starts, passed on exactly.

papermill only warns of an unknown name and turns dates, tuples and NumPy integers into strings, silently. Here a
notebook's first cell with the tag ``parameters`` is the model: every name, type and default stands there once,
for the reader of the notebook and for the checks alike::

    source: str = "../data/sample"   # a folder, a .duckdb file or a clvlib.toml
    horizon: int = 26                # weeks ahead
"""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, Final

from clvlib.errors import ParameterError, ReportError
from clvlib.report.limits import within_range

__all__ = ["Notebook", "Parameter", "checked", "literal", "parse_value", "read_notebook"]

_NAMES: Final = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
    "None": type(None),
    "Literal": typing.Literal,
    "Optional": typing.Optional,
}


@dataclass(frozen=True)
class Parameter:
    """One line of the cell.

    Attributes
    ----------
    name : str
        Its name.
    annotation : str
        Its type, as written.
    kind : Any
        Its type.
    default : Any
        Its value where nothing is passed.
    """

    name: str
    annotation: str
    kind: Any
    default: Any


@dataclass(frozen=True)
class Notebook:
    """A source notebook, which never changes.

    Attributes
    ----------
    path : pathlib.Path
        Where it lies.
    name : str
        Without ending, such as ``03_clv``.
    parameters : dict of str to Parameter
        What can be passed.
    node : nbformat.NotebookNode
        Its content.
    """

    path: Path
    name: str
    parameters: Mapping[str, Parameter]
    node: Any


def _kind(node: ast.expr, where: str) -> Any:
    """Evaluate an annotation of a few known names, without running anything."""
    match node:
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.Constant(value=None):
            return type(None)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _kind(left, where) | _kind(right, where)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = ast.literal_eval(inside)
            return typing.Literal[choices if isinstance(choices, tuple) else (choices,)]
        case ast.Subscript(value=ast.Name(id=name), slice=inside) if name in {"list", "dict", "Optional"}:
            inner = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            return _NAMES[name][tuple(_kind(item, where) for item in inner)]  # type: ignore[index]
    raise ReportError(f"{where}: the type {ast.unparse(node)} is none of {', '.join(_NAMES)} or made of them")


def _is_kind(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, strictly: True is no number and 3 no text; an integer will do as a float."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
    except ValidationError:
        return False
    return True


def read_notebook(path: Path) -> Notebook:
    """Read a notebook and the parameters that it declares.

    Raises
    ------
    ReportError
        The file is no notebook, or its ``parameters`` cell is absent, does more than assign annotated constants, or
        gives a default of another type.
    """
    import nbformat

    try:
        node = nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise ReportError(f"{path}: no such notebook") from None
    except Exception as error:
        raise ReportError(f"{path}: this is not a notebook: {str(error).splitlines()[0]}") from error
    cells = [c for c in node.cells if c.cell_type == "code" and "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ReportError(f"{path}: {len(cells)} code cells carry the tag 'parameters'; exactly one must")
    return Notebook(path, path.stem, _declared(cells[0].source, str(path)), node)


def _declared(source: str, where: str) -> dict[str, Parameter]:
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ReportError(f"{where}: its parameters cell is not Python: {error.msg}, line {error.lineno}") from None
    found: dict[str, Parameter] = {}
    for statement in statements:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                kind = _kind(annotation, where)
                try:
                    default = ast.literal_eval(value)
                except ValueError:
                    raise ReportError(f"{where}: the default of {name} is no constant") from None
                if not _is_kind(default, kind):
                    raise ReportError(f"{where}: the default of {name}, {default!r}, is no {ast.unparse(annotation)}")
                found[name] = Parameter(name, ast.unparse(annotation), kind, default)
            case _:
                line = ast.unparse(statement).splitlines()[0]
                raise ReportError(f"{where}: parameters are written 'name: type = constant', found {line!r}")
    return found


def parse_value(text: str, parameter: Parameter) -> Any:
    """Read what somebody typed on a command line as the type that the notebook declares.

    Raises
    ------
    ParameterError
        It is of another type.

    Examples
    --------
    >>> parse_value("26", Parameter("horizon", "int", int, 52)), parse_value("26", Parameter("label", "str", str, ""))
    (26, '26')
    >>> parse_value("true", Parameter("fast", "bool", bool, False))
    True
    """
    if _is_kind(text, parameter.kind):
        return text
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        raise _mismatch(parameter, text) from None


def _mismatch(parameter: Parameter, value: Any) -> ParameterError:
    return ParameterError(f"parameter {parameter.name}: {value!r} is no {parameter.annotation}")


def _applies(key: str, notebook: Notebook) -> str:
    """Return the parameter's name where ``key`` (``horizon`` or ``03_clv.horizon`` or ``03.horizon``) means it."""
    prefix, _, name = key.rpartition(".")
    named = not prefix or notebook.name == prefix or notebook.name.partition("_")[0] == prefix
    return name if named and name in notebook.parameters else ""


def _unknown(key: str, books: Sequence[Notebook]) -> ParameterError:
    """Say what could have been meant: where the key names a notebook, among what that one declares."""
    prefix, _, name = key.rpartition(".")
    asked = [book for book in books if prefix in {book.name, book.name.partition("_")[0]}]
    whose = f"notebook {asked[0].name} has no" if asked else "no notebook of this run has a"
    known = sorted({name for book in asked or books for name in book.parameters})
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return ParameterError(f"{whose} parameter {key!r}; {hint}")


def checked(notebooks: Iterable[Notebook], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Check what is passed against what each notebook declares.

    Parameters
    ----------
    notebooks : iterable of Notebook
        Those that will run.
    given : mapping
        Values by name, for every notebook that declares it, or by ``notebook.name``. Text is also accepted where
        it reads as the declared type, as command lines know nothing else.

    Returns
    -------
    dict
        Per notebook's name, the parameters to pass, of built-in types only.

    Raises
    ------
    ParameterError
        No notebook declares such a name, or a value is of another type or out of its range; see
        :mod:`clvlib.report.limits`.
    """
    books = list(notebooks)
    result: dict[str, dict[str, Any]] = {book.name: {} for book in books}
    for key, value in given.items():
        meant = [(book, name) for book in books if (name := _applies(key, book))]
        if not meant:
            raise _unknown(key, books)
        for book, name in meant:
            parameter = book.parameters[name]
            read = parse_value(value, parameter) if isinstance(value, str) else value
            if not _is_kind(read, parameter.kind):
                raise _mismatch(parameter, value)
            within_range(name, read, parameter.default)
            result[book.name][name] = read
    return result


def literal(value: Any) -> str:
    """Write a checked value as Python source that evaluates to exactly it.

    >>> literal("直播间"), literal(0.1), literal({"vip": [5, None]})
    ("'直播间'", '0.1', "{'vip': [5, None]}")

    Raises
    ------
    ParameterError
        It is of a type that has no literal.
    """
    if _has_literal(value):
        return repr(value)
    raise ParameterError(f"{value!r} cannot be written as a literal; pass text, numbers, bool, None, lists or dicts")


def _has_literal(value: Any) -> bool:
    # not by ast.literal_eval: before Python 3.11.8 the parser of one thread can trip over that of another
    if type(value) in {list, dict}:
        return all(map(_has_literal, [*value, *value.values()] if isinstance(value, dict) else value))
    return value is None or type(value) in {str, int, bool} or (type(value) is float and isfinite(value))
