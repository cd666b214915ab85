"""The frame of a report: HTML and CSS for desk and phone, everything inside."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; max-width: 1100px; padding: 1rem; }
h1 { font-size: 1.35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ddd; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eee; }
td { overflow-wrap: anywhere; }
.figure { width: 100%; }
@media (max-width: 600px) {
  body { padding: .5rem; font-size: 14px; }
  .stack tr:first-child { display: none; }
  .stack tr { display: block; border-bottom: 1px solid #ddd; padding: .4rem 0; }
  .stack td { display: inline-block; border: 0; padding: 0 .75rem 0 0; }
  .stack td:last-child { display: block; }
}
"""


def section(heading: str, body: str) -> str:
    """A part of the page; ``body`` is HTML."""
    return f"<section><h2>{escape(heading)}</h2>{body}</section>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of texts, which are escaped. kind: ``stack`` puts the cells of a row one below the other on a phone."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads) if any(heads) else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide {kind}"><table>{"<tr>" + head + "</tr>" if head else ""}{body}</table></div>'


def page(title: str, parts: Iterable[str], script: str) -> str:
    """The whole page. title: HTML already escaped; script: JavaScript that the parts need."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style><script>{script}</script></head>\n"
        f"<body><h1>{title}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
