"""Tables for papers: LaTeX with the rules of booktabs."""

import re
from collections.abc import Sequence

MEANT = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def tabular(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A `tabular` for a `table`; needs the package booktabs. The first `words` columns are aligned left."""
    columns = "l" * words + "r" * (len(header) - words)
    lines = [r"\begin{tabular}{" + columns + "}", r"\toprule", _row(header), r"\midrule"]
    return "\n".join([*lines, *(_row(row) for row in rows), r"\bottomrule", r"\end{tabular}", ""])


def escaped(text: str) -> str:
    """`text` as LaTeX prints it: its own characters escaped, minus signs and dashes as it has them."""
    plain = re.sub(r"[\\~^&%$#_{}]", lambda sign: MEANT.get(sign.group(), "\\" + sign.group()), text)
    return plain.replace("−", "$-$").replace("–", "--").replace("<", "$<$").replace(">", "$>$")


def _row(cells: Sequence[str]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + r" \\"
