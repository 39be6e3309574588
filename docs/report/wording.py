"""Numbers and short texts as Typst markup."""

from __future__ import annotations

import re
from collections.abc import Iterable

from evae_companion.claims import Check

WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()
SPACE = "\N{NO-BREAK SPACE}"
SYMBOLS = {
    "L_RC": '$L_"RC"$', "L_KL": '$L_"KL"$', "L_H": '$L_"H"$', "X'_out": '$X\'_"out"$', "X_out": '$X_"out"$',
    "γ_c": '$gamma_"c"$', "β_c": '$beta_"c"$', "S^z": "$S^z$", "E/N": "$E slash N$", "D, B": "$D slash J$, $B slash J$",
    "mu": "$mu$", "θ": "$theta$", "γ": "$gamma$", "β": "$beta$", "R": "$R$"}
_NAMES = "|".join(re.escape(name) for name in sorted(SYMBOLS, key=len, reverse=True))
_TOKEN = re.compile(rf"(?<![A-Za-z])(?P<name>{_NAMES})(?![A-Za-z])|\b(?P<factor>\d+(?:\.\d+)?)e(?P<power>[+-]?\d+)\b"
                    rf"|(?<!±{SPACE})\b0\.(?P<zeros>00+)1\b|[\\#*_$<>@~`\[\]]")


def markup(text: str) -> str:
    """Return plain text as Typst markup: symbols with subscripts, powers of ten, minus signs, numbers in one line."""
    def token(match: re.Match[str]) -> str:
        if match["name"]:
            return SYMBOLS[match["name"]]
        if match["power"]:
            factor = "" if match["factor"] == "1" else f"{match['factor']} times "
            return f"${factor}10^({int(match['power'])})$"
        if match["zeros"]:
            return f"$10^(-{len(match['zeros']) + 1})$"
        return f"\\{match[0]}"

    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return _TOKEN.sub(token, re.sub(r" (?=[±÷×%])|(?<=[±÷×]) |(?<=× or) ", SPACE, text))


def word(n: int) -> str:
    """Return a small number in words."""
    return WORDS[n] if n < len(WORDS) else str(n)


def grouped(n: int) -> str:
    """Return an integer with thin spaces between its thousands."""
    return f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def power(x: float, digits: int = 0) -> str:
    """Return a number as a power of ten, with so many digits after the point of its factor."""
    return markup(f"{x:.{digits}e}")


def percent(x: float, form: str = ".0f") -> str:
    """Return a share as a percentage."""
    return f"{100 * x:{form}}{SPACE}%"


def listed(values: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *before, last = values
    return f"{', '.join(before)} and {last}" if before else last


def span(values: Iterable[float], form: str = ".2g") -> str:
    """Return "least to largest", or one number where both read the same."""
    ordered = sorted(values)
    return " to ".join(dict.fromkeys(f"{end:{form}}" for end in (ordered[0], ordered[-1])))


def over(values: Iterable[float], unit: str = "") -> str:
    """Return the mean over trainings with its standard error, written as the score card writes it."""
    return markup(Check("", tuple(values), 0.0, True, unit).number)
