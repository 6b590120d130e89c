"""A comparison as text for a terminal, as Markdown for a pull request, and as numbers.

Names of classes and revisions come from users. In Markdown every character of theirs that is no
letter, digit, space or hyphen is written as its number, within <code>: so nothing of it can end a
table cell, start a link or an element, or mention anyone.
"""

from collections.abc import Sequence

from darkroom.comparison.differences import LOWER_IS_BETTER, Comparison, Difference
from darkroom.core.errors import LONGEST, visible
from darkroom.core.files import MetricTree
from darkroom.evaluation.intervals import Interval
from darkroom.evaluation.metrics import interval_key, metric_key

TITLES = {
    "srcc": "SRCC", "plcc": "PLCC", "rmse": "RMSE", "emd_r1": "EMD r=1", "emd_r2": "EMD r=2",
    "auc": "AUC", "accuracy": "accuracy", "brier": "Brier score",
}  # fmt: skip
_LONGEST_MESSAGE = 1000


def as_text(comparison: Comparison) -> str:
    """Return a table of fixed width between what was compared and what it shows."""
    rows = [_headings(comparison), *(_cells(d) for d in comparison.differences)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    shown = (comparison.base, comparison.head, comparison.auc_of)
    base, head, auc_of = (visible(text)[:LONGEST] for text in shown)
    return "\n".join(
        [f"{head} against {base}", *(visible(n) for n in _facts(comparison)), "",
         *table, "", f"AUC: {auc_of}.", *_remarks(comparison), summarise(comparison), ""]
    )  # fmt: skip


def as_markdown(comparison: Comparison) -> str:
    """Return the same for GitHub."""
    headings = _headings(comparison)
    rows = [headings, ["---"] * len(headings), *(_cells(d) for d in comparison.differences)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    base, head = (code(name[:LONGEST]) for name in (comparison.base, comparison.head))
    title = f"### Is {head} better than {base}?"
    remarks = [f"AUC: {code(comparison.auc_of[:LONGEST])}.", *_remarks(comparison)]
    facts = [fact if fact not in comparison.pair.notes else code(fact)
             for fact in _facts(comparison)]  # fmt: skip
    outcome = f"**{summarise(comparison)}**"
    lines = [title, "", outcome, "", " ".join(facts), "", *table, "", " ".join(remarks), ""]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return text of whatever content as one inert <code> element of Markdown.

    >>> code("a|b @all")
    '<code>a&#124;b &#64;all</code>'
    """
    shown = visible(text)[:_LONGEST_MESSAGE]
    safe = (c if c.isalnum() or c in " -" else f"&#{ord(c)};" for c in shown)
    return f"<code>{''.join(safe)}</code>"


def as_tree(comparison: Comparison) -> MetricTree:
    """Return nested numbers."""
    pair, name = comparison.pair, interval_key(comparison.confidence)
    return {
        "base": comparison.base,
        "head": comparison.head,
        "n": len(pair.head),
        "groups": comparison.groups,
        "interval_reliable": comparison.reliable,
        "left_out_base": pair.left_out_base,
        "left_out_head": pair.left_out_head,
        "relabelled": pair.relabelled,
        "main": comparison.main,
        "metrics": {
            metric_key(d.metric): {
                "base": d.base, "head": d.head, "difference": d.value,
                name: {"low": d.interval.low, "high": d.interval.high},
                "method": d.interval.method, "note": d.interval.note, "p": d.p,
                "p_holm": d.p_holm, "verdict": d.verdict,
            }
            for d in comparison.differences
        },
    }  # fmt: skip


def summarise(comparison: Comparison) -> str:
    """Return the outcome in a sentence."""
    having = {verdict: _names(comparison.having(verdict)) for verdict in ("worse", "better")}
    parts = [f"significantly {verdict}: {names}" for verdict, names in having.items() if names]
    text = "; ".join(parts) or "no difference shown in any metric"
    return f"{text[0].upper()}{text[1:]}."


def _headings(comparison: Comparison) -> list[str]:
    level = f"{100 * comparison.confidence:.6g} % interval"
    return ["metric", "base", "head", "difference", level, "p (Holm)", "verdict"]


def _cells(d: Difference) -> list[str]:
    better = " ↓" if d.metric in LOWER_IS_BETTER else ""
    p = "–" if d.p_holm is None else f"{d.p_holm:.3f}" if d.p_holm >= 0.001 else "< 0.001"
    numbers = (_number(d.base), _number(d.head), _number(d.value, sign=True))
    return [TITLES[d.metric] + better, *numbers, _interval(d.interval), p, d.verdict]


def _number(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "–"
    rounded = round(value, 3) + 0.0  # no −0
    return f"{rounded:{'+' if sign and rounded else ''}.3f}"


def _interval(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "–"
    return f"{_number(interval.low, sign=True)} to {_number(interval.high, sign=True)}"


def _facts(comparison: Comparison) -> list[str]:
    """Return what was compared on, and what was left out."""
    pair = comparison.pair
    facts = [
        f"{len(pair.head)} test images in both, in {comparison.groups} groups; left out:"
        f" {pair.left_out_base} of base alone, {pair.left_out_head} of head alone."
    ]
    if pair.relabelled:
        facts.append(f"{pair.relabelled} labels differ: both are evaluated by head's.")
    if not comparison.reliable:
        facts.append(f"Intervals are unreliable: {comparison.groups} groups.")
    return facts + pair.notes


def _remarks(comparison: Comparison) -> list[str]:
    """Return how it was computed."""
    methods: dict[str, list[str]] = {}
    for d in comparison.differences:
        methods.setdefault(d.interval.method, []).append(d.metric)
    used = "; ".join(f"{method} ({_names(metrics)})" for method, metrics in methods.items())
    notes = [f"Methods: {used}."]
    for d in comparison.differences:
        if d.interval.note:
            absent = "No interval for " if d.interval.low is None else ""
            notes.append(f"{absent}{TITLES[d.metric]}: {d.interval.note}.")
    if any(d.metric in LOWER_IS_BETTER for d in comparison.differences):
        notes.append("↓ lower is better.")
    return notes


def _names(metrics: Sequence[str]) -> str:
    return ", ".join(TITLES[name] for name in metrics)
