"""What a notebook says to the report: figures, tables, pictures, claims and alerts, one call each.

A chapter shows each thing in the notebook in two forms, one for people in a browser and one line of text, and hides a
third in the output for the runner, under a media type of ours, so that the page and the ledger are made of exactly what
the notebook showed. Outside a notebook the text is printed.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.privacy import Pseudonyms, names_for
from clvlib.errors import (
    ConvergenceWarning,
    DataError,
    MissingColumnError,
    MissingTableError,
    ParameterError,
    ThinDataWarning,
)
from clvlib.plotting import style
from clvlib.report.form import UNITS, frame_cells, html_table, list_label, outcomes, show, text_table, worth
from clvlib.report.groups import guarded
from clvlib.report.lists import ENCRYPTED, EVENTS, keep
from clvlib.report.pictures import figure_of, pictured
from clvlib.report.publish import outlasting
from clvlib.report.record import cells_shown, drawn, exact
from clvlib.report.tables import save_list, save_table
from clvlib.words import MODELS, begun, in_words, language, mark, price_in, speak, stopped, tr, trn

__all__ = ["ACTION", "ALERT", "CHANCES", "FIGURE", "FORECAST", "HEADER", "KPI", "MISSING", "TABLE", "Chapter"]

ACTION: Final = "application/vnd.clvlib.action+json"
KPI: Final = "application/vnd.clvlib.kpi+json"
ALERT: Final = "application/vnd.clvlib.alert+json"
CHANCES: Final = "application/vnd.clvlib.chances+json"
FORECAST: Final = "application/vnd.clvlib.forecast+json"
MISSING: Final = "application/vnd.clvlib.missing+json"
TABLE: Final = "application/vnd.clvlib.table+json"
FIGURE: Final = "application/vnd.clvlib.figure+json"
HEADER: Final = "application/vnd.clvlib.chapter+json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CLASSES = re.compile(rf"\b({'|'.join(MODELS)})\b")
_SEVERITIES = (mark("high"), mark("medium"), mark("low"))
_MARK = {"high": "▲", "medium": "◆", "low": "●"}
_SAMPLE = mark("Sample data: a made-up shop. No figure here says anything about a real one.")


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None


def _display(text: str, html: str = "", metadata: Mapping[str, Any] | None = None, **more: Any) -> None:
    """Show one thing; ``more`` maps further media types (given as ``data=``) to their content."""
    if not _in_notebook():
        sys.stdout.write(text + "\n")
        return
    from IPython.display import display

    bundle = {"text/plain": text} | ({"text/html": html} if html else {}) | more.get("data", {})
    display(bundle, raw=True, metadata=dict(metadata or {}))  # type: ignore[no-untyped-call]


def _checked_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ParameterError(f"{what} {name!r}: a name here is made of letters, digits, _ and -, as it names a file")
    return name


def _quantiles(name: str, quantiles: Mapping[float, float]) -> list[tuple[float, float]]:
    """Return levels and quantiles in their order, checked."""
    found = sorted((round(float(level), 8), exact(value)) for level, value in quantiles.items())
    values = [value for _, value in found if value is not None]
    if any(not 0 < level < 1 for level, _ in found) or len(values) < len(found) or values != sorted(values):
        listed = ", ".join(f"{level:g}: {value}" for level, value in found)
        raise ParameterError(
            f"forecast {name}: the quantiles {listed} are none; levels lie between 0 and 1, and values rise with them"
        )
    return [(level, value) for level, value in found if value is not None]


def _show_notes() -> None:
    """Let our own warnings reach the reader as a line, without the file and line of code that nobody asked for."""
    ours = (ThinDataWarning, ConvergenceWarning)
    for category in ours:
        warnings.simplefilter("default", category)
    before = warnings.showwarning
    if getattr(before, "shows_notes", False):
        return

    def showwarning(message: Warning | str, category: type[Warning], *place: Any, **where: Any) -> None:
        if issubclass(category, ours):
            named = _CLASSES.sub(lambda found: in_words(found[0]), str(message))
            note = tr("Note: {text}", text=named)
            _display(note, f'<p class="clv-note">{escape(note)}</p>')
        else:
            before(message, category, *place, **where)

    showwarning.shows_notes = True  # type: ignore[attr-defined]
    warnings.showwarning = showwarning


class Chapter:
    """One chapter of the weekly report, as its notebook writes it.

    Parameters
    ----------
    name : str
        Name of the notebook, such as ``01_audience_profile``.
    shop : Shop
        What :func:`clvlib.connect` returned.
    week : str
        ISO week such as ``2026-W46``; empty: the last complete week in the data.
    output : str or pathlib.Path
        Folder for full tables, which go to ``<output>/<name>/``; empty: nothing is written.
    lang : {'en', 'zh', ''}
        Language that the process speaks from now on; empty: the one that the shop's configuration names. Amounts in
        sentences and figures get the sign of the shop's currency.

    Attributes
    ----------
    week : Week
        The week of this report.

    Raises
    ------
    ParameterError
        The week does not exist, or lies outside the data; the language is not known.

    Notes
    -----
    Words given to a chapter are looked up in the catalogue of the language; what it lacks stays as it is given.
    """

    def __init__(self, name: str, shop: Any, week: str = "", output: str | Path = "", lang: str = "") -> None:
        self.name = _checked_name(name, "chapter")
        speak(lang or getattr(shop.config, "language", "en"))
        self.shop = shop
        self.week: Week = shop.week(week)
        self.output = Path(output) / self.name if str(output) else None
        self._currency = str(getattr(shop.config, "currency", ""))
        price_in(self._currency)
        if _in_notebook():
            _show_notes()
            style(language())
        self._open()

    @property
    def weeks_known(self) -> int:
        """Weeks of the data up to this one: more than that, a section cannot look back."""
        first = Week.containing(self.shop.date_range[0])
        return (self.week.start - first.start).days // 7 + 1

    def _open(self) -> None:
        first, last = self.shop.date_range
        text = tr(
            "{shop}, week {week} ({start} to {end}); orders from {first} to {last}",
            shop=self.shop.name or tr("Shop"),
            week=self.week.label,
            start=self.week.start,
            end=self.week.as_of,
            first=str(first)[:10],
            last=str(last)[:10],
        )
        sample = bool(self.shop.is_sample)
        html = f'<p class="clv-head">{escape(text)}</p>'
        if sample:
            html += f'<p class="clv-sample"><strong>{escape(tr(_SAMPLE))}</strong></p>'
        payload = {"chapter": self.name, "week": self.week.label, "sample": sample}
        _display(f"{text}\n{tr(_SAMPLE)}" if sample else text, html, data={HEADER: payload})

    def has(self, *tables: str, section: str = "") -> bool:
        """Whether the shop has all ``tables``; where not, say in one line that ``section`` is left out and why.

        Parameters
        ----------
        *tables : str
            Names of the contract.
        section : str
            What is left out without them, such as ``"A1 Audience features"``.
        """
        absent = [table for table in tables if not self.shop.has(table)]
        if absent:
            self._without(section, absent)
        return not absent

    def _without(self, section: str, tables: Iterable[str]) -> None:
        self._left_out(section, tr("this shop has no table {listed}", listed=", ".join(tables)), list(tables))

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Leave out the rest of a ``with`` block, with a visible line, where the data cannot carry it.

        For sections that need more than a table: a repeat customer, a column, an event of a certain name. Only errors
        about the data are taken so; a fault of the program stays one.
        """
        try:
            yield
        except MissingTableError as error:
            if error.tables:
                self._without(title, error.tables)
            else:
                self._left_out(title, str(error), [])
        except MissingColumnError as error:
            told = tr("the data have no column {columns}", columns=", ".join(error.columns))
            self._left_out(title, told if error.columns else str(error), [])
        except DataError as error:
            self._left_out(title, str(error), [])

    def lasting(self, name: str) -> Path | None:
        """Return where a file lies that outlasts this week's report, or None where nothing is written.

        It lies beside the weeks, so that a report that is made again finds it; in a run of one's own, in the output
        folder. Several shops may share a folder of reports, so the shop's name is part of the file's.

        Parameters
        ----------
        name : str
            Such as ``"script.looks"``.
        """
        if self.output is None:
            return None
        file = re.sub(r"[^\w.-]+", "_", f"{self.shop.name}-{name}")
        return outlasting(self.output.parent) / "lasting" / file

    def _left_out(self, section: str, reason: str, tables: list[str]) -> None:
        section, reason = tr(section or mark("A section")), reason.rstrip(".。")
        text = tr("{section} is left out: {reason}.", section=section, reason=reason)
        payload = {"chapter": self.name, "section": section, "tables": tables, "reason": reason}
        _display(text, f'<p class="clv-missing">{escape(text)}</p>', data={MISSING: payload})

    def kpi(
        self,
        name: str,
        value: float | None,
        lower: float | None = None,
        upper: float | None = None,
        unit: str = "number",
        better: Literal["higher", "lower", ""] = "",
        label: str = "",
        *,
        level: float = 0.95,
        why: str = "",
        note: str = "",
        stock: bool = False,
    ) -> None:
        """Show a key figure, and hand it to the report's first table.

        Parameters
        ----------
        name : str
            Stable across weeks, such as ``repeat_rate``.
        value : float or None
            The figure; what is not a number is shown as an em dash.
        lower, upper : float, optional
            Ends of its interval.
        unit : str
            One of ``clvlib.report.form.UNITS``: count, money, share, weeks …
        better : {'higher', 'lower', ''}
            Which way is good; empty where neither is.
        label : str
            Name for readers; without one, made from ``name``.
        level : float
            Of the interval.
        why : str
            Why there is no number, where there is none.
        note : str
            What is to be known of the number, in a few words; it stands below it.
        stock : bool
            Whether most of what it is about was there last week too, as of the value of all customers: both weeks then
            err alike, so that their intervals together say nothing of the change, and none is made of them.

        Raises
        ------
        ParameterError
            The name, unit or direction is not known, or the interval is the wrong way round.
        """
        if better not in {"higher", "lower", ""}:
            raise ParameterError(f"kpi {name}: better is 'higher', 'lower' or '', not {better!r}")
        figures = {"value": exact(value), "lower": exact(lower), "upper": exact(upper)}
        more = {"better": better, "level": level, "why": tr(why)} | ({"note": tr(note)} if note else {})
        more |= {"stock": True} if stock else {}
        payload = self._figure("kpi", name, label, figures, unit) | more
        self._state(payload, KPI, payload["value"], payload["label"])

    def forecast(
        self,
        name: str,
        mean: float | None,
        lower: float | None = None,
        upper: float | None = None,
        weeks: int = 1,
        actual: float | None = None,
        unit: str = "count",
        label: str = "",
        *,
        level: float = 0.9,
        quantiles: Mapping[float, float] | None = None,
        why: str = "",
    ) -> None:
        """Say what the coming weeks are expected to bring; the report keeps it, and grades it when they have come.

        Parameters
        ----------
        name : str
            Stable across weeks, such as ``repeat_purchases``. A name may be forecast over several horizons.
        mean, lower, upper : float or None
            The forecast of the figure over the ``weeks`` weeks after this one, and its prediction interval.
        weeks : int
            How far ahead.
        actual : float, optional
            What the same figure, defined in the same way, came to in the ``weeks`` weeks that end with this one. It
            grades the forecast that was made then, and it is the naive forecast that this one is held against.
        unit, label, why
            As in :meth:`kpi`.
        level : float
            Of the interval.
        quantiles : mapping of float to float, optional
            The predictive distribution: level -> quantile, best for :data:`clvlib.stats.quantiles.LEVELS`. From draws
            it is ``dict(zip(LEVELS, np.quantile(draws, LEVELS)))``; from an outlook with a column per level, its row.
            An interval that is not given is taken from it. It is kept with the forecast, and graded as a whole: by
            the coverage of each interval that it holds, by its CRPS, and by whether what came is spread over it as it
            should be. Without it, the interval and the mean are graded alone.

        Raises
        ------
        ParameterError
            The name or unit is not known, the horizon is no whole week, the interval is the wrong way round, or the
            quantiles are.

        Notes
        -----
        The interval is for what will be seen, not for its expectation: it holds the chance of single purchases too.
        """
        spread = _quantiles(name, quantiles or {})
        held = dict(spread)
        lower = held.get(round((1 - level) / 2, 8)) if lower is None else lower
        upper = held.get(round((1 + level) / 2, 8)) if upper is None else upper
        if weeks < 1 or weeks != int(weeks):
            raise ParameterError(f"forecast {name}: it looks a whole number of weeks ahead, not {weeks}")
        figures = {"mean": exact(mean), "lower": exact(lower), "upper": exact(upper), "actual": exact(actual)}
        more = {"level": level, "weeks": int(weeks), "why": tr(why)} | ({"quantiles": spread} if spread else {})
        payload = self._figure("forecast", name, label, figures, unit) | more
        ahead = trn("{label}, next week", "{label}, next {n} weeks", int(weeks), label=payload["label"])
        self._state(payload, FORECAST, payload["mean"], ahead)

    def _figure(
        self, what: str, name: str, label: str, figures: dict[str, float | int | None], unit: str
    ) -> dict[str, Any]:
        """Check what a key figure and a forecast have in common, and make the record of it."""
        _checked_name(name, what)
        if unit not in UNITS:
            raise ParameterError(f"{what} {name}: unit {unit!r} is none of {', '.join(UNITS)}")
        lower, upper = figures["lower"], figures["upper"]
        if lower is not None and upper is not None and lower > upper:
            raise ParameterError(f"{what} {name}: the interval from {lower} to {upper} is the wrong way round")
        label = tr(label or name.replace("_", " ").capitalize())
        record = {"chapter": self.name, "name": name, "label": label, **figures, "unit": unit}
        return record | {"week": self.week.label, "currency": self._currency}

    def _state(self, payload: dict[str, Any], kind: str, value: float | None, label: str) -> None:
        unit = payload["unit"]
        text = show(value, unit, self._currency)
        span = payload["why"] if value is None else ""
        if value is not None and payload["lower"] is not None and payload["upper"] is not None:
            ends = (payload["lower"], payload["upper"])
            ends = outcomes(*ends, unit) if kind == FORECAST else ends
            lower, upper = (show(end, unit, self._currency) for end in ends)
            level = f"{100 * payload['level']:.4g}%"
            span = tr("{level} interval {lower} to {upper}", level=level, lower=lower, upper=upper)
        middle = [q for p, q in payload.get("quantiles", ()) if p in {0.25, 0.75}]
        if span and len(middle) == 2:
            quarters = [show(end, unit, self._currency) for end in outcomes(middle[0], middle[1], unit)]
            span += tr("; middle half {lower} to {upper}", lower=quarters[0], upper=quarters[1])
        html = f'<p class="clv-kpi"><span>{escape(label)}</span> <strong>{escape(text)}</strong>'
        html += f" <span>{escape(span)}</span></p>" if span else "</p>"
        _display(f"{label}{tr(': ')}{text}" + (f" ({span})" if span else ""), html, data={kind: payload})

    def table(
        self,
        name: str,
        frame: pd.DataFrame,
        caption: str = "",
        rows: int = 12,
        formats: Mapping[str, str] | None = None,
        *,
        people: str = "",
        columns: Iterable[str] = (),
    ) -> None:
        """Show the first rows of a frame, rounded; save all of it, exact, where the chapter has an output folder.

        Parameters
        ----------
        name : str
            Name of the files.
        frame : pandas.DataFrame
            What to show.
        caption : str
            One line above it.
        rows : int
            How many rows are shown.
        formats : mapping, optional
            Unit or format per column, such as ``{"share": "share", "revenue": "money", "score": ".2f"}``.
        people : str
            The column that says how many people a row is about, where rows are the groups of a whole or of several.
            Groups below the shop's ``smallest_group`` are left out, and the next smallest where those could be found by
            subtraction; a line below, and a row in the file, say how many. See :func:`clvlib.report.groups.guarded`.
        columns : iterable of str
            Those to show, where a page has no room for all; the file has all. By default every one.

        Raises
        ------
        ParameterError
            The name, a column or a format is not known.
        ReportError
            The files could not be written.
        """
        if people and people not in frame:
            raise ParameterError(f"table {name}: no column {people}; it has {', '.join(map(str, frame.columns))}")
        full, note = frame, ""
        if people:
            safe = guarded(frame, people, self.shop.config.smallest_group)
            frame, full, note = safe.shown, safe.saved, safe.note
        if self.output:
            save_table(full, self.output, _checked_name(name, "table"))
        saved = f"{name}.csv" if self.output else ""
        formats = dict(formats or {})
        if chosen := list(columns):
            if absent := [column for column in chosen if column not in frame]:
                raise ParameterError(f"table {name}: no column {', '.join(absent)}; it has {', '.join(frame.columns)}")
            formats = {column: form for column, form in formats.items() if column in chosen or column not in frame}
            frame = frame[chosen]
        self._show_table(name, frame, caption, rows, formats, saved, note)

    def people(
        self,
        name: str,
        frame: pd.DataFrame,
        caption: str = "",
        rows: int = 12,
        formats: Mapping[str, str] | None = None,
    ) -> None:
        """Show the first of a list of customers under pseudonyms; save all of it, with their ids, for its owner alone.

        The file is encrypted where the shop's configuration names recipients. Pseudonyms are made with the key of
        :func:`clvlib.data.privacy.find_key`, which a report keeps beside its weeks; those of a sample shop are no
        secret.

        Parameters
        ----------
        name, caption, rows, formats
            As in :meth:`table`.
        frame : pandas.DataFrame
            By customer_id, as its index or a column.

        Raises
        ------
        ParameterError
            There is no customer_id, or as in :meth:`table`.
        ReportError, ConfigError
            The file could not be written, or there is no key.
        """
        if "customer_id" not in frame:
            frame = frame.reset_index()
        if "customer_id" not in frame:
            raise ParameterError(f"list {name}: it has no customer_id; it has {', '.join(map(str, frame.columns))}")
        named = frame.drop(columns="customer_id")
        named.insert(0, "customer", self._pseudonyms.of(frame["customer_id"]))
        saved = ""
        if self.output:
            full = named.assign(customer_id=frame["customer_id"].to_numpy())
            columns = ["customer_id", *named.columns]
            saved = save_list(full[columns], self.output, _checked_name(name, "list"), self.shop.config.recipients).name
        self._show_table(name, named, caption, rows, dict(formats or {}), saved, "", people=True)

    def chances(
        self,
        name: str,
        chances: pd.Series | None,
        event: Literal["purchase", "no purchase"],
        weeks: int,
        listed: Iterable[Any] | None = None,
        label: str = "",
    ) -> None:
        """Say how likely each customer is to buy, or to buy nothing, in the coming weeks; the report grades it then.

        When the weeks have come, the report of the last of them holds what was kept against its own data: how many had
        the event and how many were expected to, the Brier score, bands of chances, and how many of a list had it. What
        is kept are pseudonyms, for their owner alone; where lists are encrypted nothing is, and the report says so.

        Parameters
        ----------
        name : str
            Stable across weeks, such as ``leaving``.
        chances : pandas.Series or None
            By customer_id, the chance of the event; None for a list of which only its precision can be told.
        event : {'purchase', 'no purchase'}
            A purchase is a paid order of more than nothing.
        weeks : int
            After this one.
        listed : iterable, optional
            The customers that a list names.
        label : str
            Name for readers; without one, made from ``name``.

        Raises
        ------
        ParameterError
            The name or event is not known, the horizon is no whole week, a chance is none, or a customer is listed
            without one.
        ReportError, ConfigError
            The file could not be written, or there is no key.
        """
        _checked_name(name, "chances")
        if event not in EVENTS or weeks < 1 or weeks != int(weeks):
            raise ParameterError(
                f"chances {name}: of {' or '.join(EVENTS)} in a whole number of weeks; not {event!r} in {weeks}"
            )
        sealed = bool(self.shop.config.recipients)
        said = keep(chances, listed, self._pseudonyms, None if sealed else self.output, name)
        payload = {
            "chapter": self.name,
            "name": name,
            "label": label or name,
            "event": event,
            "weeks": int(weeks),
            **said,
        }
        payload |= {"why": ENCRYPTED if sealed else "", "week": self.week.label}
        _display(text := self._kept(payload), f'<p class="clv-note">{escape(text)}</p>', data={CHANCES: payload})

    def _kept(self, said: Mapping[str, Any]) -> str:
        label = list_label(said["label"])
        if said["why"]:
            return tr("{label}: this cannot be graded later: {why}.", label=label, why=tr(said["why"]))
        due = self.week.shift(said["weeks"]).label
        if said["expected"] is None:
            return trn(
                "{label}: to be graded in {due}, {n:,} customer.",
                "{label}: to be graded in {due}, {n:,} customers.",
                said["customers"],
                label=label,
                due=due,
            )
        return trn(
            "{label}: to be graded in {due}, when of {n:,} customer {expected:,.0f} should {event}.",
            "{label}: to be graded in {due}, by when of {n:,} customers {expected:,.0f} should {event}.",
            said["customers"], label=label, due=due, expected=said["expected"], event=tr(EVENTS[said["event"]]),
        )  # fmt: skip

    @cached_property
    def _pseudonyms(self) -> Pseudonyms:
        """By the key of the folder of reports: a published notebook that is run again gives everybody the same name."""
        folder = outlasting(self.output) if self.output else None
        return names_for(self.shop, folder if folder and (folder / ".key").exists() else None)

    def _show_table(
        self,
        name: str,
        frame: pd.DataFrame,
        caption: str,
        rows: int,
        formats: dict[str, str],
        saved: str,
        note: str,
        *,
        people: bool = False,
    ) -> None:
        """Show the first rows; ``saved`` is the file that has all."""
        _checked_name(name, "table")
        caption = tr(caption).rstrip(".。")  # a heading
        top = frame.head(rows)
        heads, cells, numeric = frame_cells(top, formats, self._currency)
        unknown = set(formats) - set(heads)
        if unknown:
            raise ParameterError(f"table {name}: no column {', '.join(sorted(unknown))}; it has {', '.join(heads)}")
        more = len(frame) - len(cells)
        notes = [note] if note else []
        if more > 0:
            notes.insert(
                0,
                trn("{n:,} more row in {file}", "{n:,} more rows in {file}", more, file=saved)
                if saved
                else trn("{n:,} more row", "{n:,} more rows", more),
            )
        payload = {"chapter": self.name, "name": name, "caption": caption, "rows": len(frame), "saved": bool(saved)}
        payload |= {"columns": heads, "cells": cells if people else cells_shown(top, cells, numeric)}
        if people:
            payload |= {"people": True, "recipients": len(self.shop.config.recipients)}
        notes = notes if len(frame) or note else [tr("No rows.")]
        shown = (heads, cells, numeric, caption, begun(tr("; ").join(notes)))
        _display(text_table(*shown), html_table(*shown), data={TABLE: payload})

    def figure(self, name: str, ax_or_fig: Any, alt: str = "") -> None:
        """Show a figure with the text that stands for it.

        Parameters
        ----------
        name : str
            Stable across weeks.
        ax_or_fig : matplotlib Axes, array of them, Figure, or a grid of seaborn
            What to show; it is closed afterwards.
        alt : str
            What the figure says, for those who cannot see it. Required.

        Raises
        ------
        ParameterError
            There is no alternative text, or nothing to draw.
        """
        _checked_name(name, "figure")
        if not alt.strip():
            raise ParameterError(f"figure {name}: alt is empty; say in a sentence what the figure shows")
        alt = tr(alt)
        figure = figure_of(ax_or_fig, name)
        png, width, height = pictured(figure)
        meta = {"image/png": {"alt": alt, "width": width, "height": height}, "clvlib": {"figure": name}}
        payload = {"chapter": self.name, "name": name, "alt": alt, **drawn(figure)}
        _display(alt, metadata=meta, data={"image/png": png, FIGURE: payload})

    def say(self, text: str) -> None:
        """State one claim, in words made from figures."""
        text = stopped(begun(tr(text)))
        _display(text, f'<p class="clv-say">{escape(text)}</p>')

    def alert(
        self,
        rule: str,
        text: str,
        segment: str = "",
        severity: Literal["high", "medium", "low"] = "medium",
        *,
        metric: str = "",
        good: bool = False,
        time: bool = False,
    ) -> None:
        """Raise an alert, which the report shows first.

        Parameters
        ----------
        rule : str
            What was crossed, such as ``"click to cart below 12%"``.
        text : str
            The evidence, and the list to act on.
        segment : str
            Where; empty: everywhere.
        severity : {'high', 'medium', 'low'}
            How urgent.
        metric : str
            The key figure that it is about, by its name; see :func:`clvlib.report.alerts.cards` for what it joins.
        good : bool
            Whether it is good news.
        time : bool
            Whether the segment is a time, such as a day, and not a part of the shop.

        Raises
        ------
        ParameterError
            The severity is none of these.
        """
        if severity not in _SEVERITIES:
            raise ParameterError(f"alert {rule}: severity is one of {', '.join(_SEVERITIES)}, not {severity!r}")
        rule, text = tr(rule), stopped(tr(text))
        payload: dict[str, Any] = {"chapter": self.name, "rule": rule, "text": text, "segment": segment}
        payload |= {"severity": severity, "metric": metric, "good": good} | ({"time": True} if time else {})
        where = f" [{segment}]" if segment else ""
        line = tr(
            "{mark} {severity} alert, {rule}{where}: {text}",
            mark=_MARK[severity],
            severity=tr(severity),
            rule=rule,
            where=where,
            text=text,
        )
        _display(line, f'<p class="clv-alert clv-{severity}">{escape(line)}</p>', data={ALERT: payload})

    def action(
        self,
        name: str,
        text: str,
        gain: float | None = None,
        lower: float | None = None,
        upper: float | None = None,
        *,
        people: int | None = None,
        cost: float | None = None,
        basis: str = "",
        table: str = "",
        level: float = 0.95,
    ) -> None:
        """Propose something to do, with what it is expected to bring, which the report shows beside the alerts.

        Parameters
        ----------
        name : str
            Stable across weeks, such as ``thank_you``.
        text : str
            What to do, and by when.
        gain, lower, upper : float, optional
            Margin that it is expected to bring beyond what comes without it, less its cost, and its interval.
        people : int, optional
            How many customers it is about.
        cost : float, optional
            What it costs.
        basis : str
            What the gain rests on: measured on so many, or assumed.
        table : str
            Name of the list to work on, as given to :meth:`people`.
        level : float
            Of the interval.

        Raises
        ------
        ParameterError
            The name is none, or the interval is the wrong way round.
        """
        figures = {"value": exact(gain), "lower": exact(lower), "upper": exact(upper)}
        record = self._figure("action", name, text, figures, "money")
        text, basis = tr(text).rstrip(".。"), tr(basis)
        payload = record | {"people": people, "cost": exact(cost), "basis": basis, "list": table, "level": level}
        payload |= {"label": text}
        shown = [
            tr("expected gain {gain}", gain=worth(payload, self._currency)),
            trn("{n:,} customer", "{n:,} customers", people) if people is not None else "",
            basis,
        ]
        line = tr("To do: {text} ({details})", text=text, details=tr("; ").join(filter(None, shown)))
        _display(line, f'<p class="clv-action">{escape(line)}</p>', data={ACTION: payload})
