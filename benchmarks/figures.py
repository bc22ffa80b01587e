"""A figure, the target it is held against, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """limit: at most or at least so much, of the value itself or of its ratio to the floor."""

    limit: float
    of: Literal["value", "ratio"] = "ratio"
    at_most: bool = False

    def is_reached(self, figure: Figure) -> bool:
        found = figure.ratio if self.of == "ratio" else figure.value
        return found <= self.limit if self.at_most else found >= self.limit

    def __str__(self) -> str:
        return f"{self.of} {'<=' if self.at_most else '>='} {self.limit:,g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    values: one per round or sample. floors: those of the same rounds, or none.
    """

    name: str
    unit: str
    values: Sequence[float]
    floors: Sequence[float] = ()
    target: Target | None = None

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def floor(self) -> float | None:
        return median(self.floors) if self.floors else None

    @property
    def ratio(self) -> float:
        return median(self._ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest of what is judged: the ratio if there is one, otherwise the value."""
        found = self._ratios if self.target and self.target.of == "ratio" else self.values
        return min(found), max(found)

    @property
    def _ratios(self) -> list[float]:
        """Each round against the floor of its own minute; samples without a partner against the median floor."""
        if len(self.values) == len(self.floors):
            return [value / floor for value, floor in zip(self.values, self.floors, strict=True)]
        return [value / median(self.floors) for value in self.values]

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "reached" if self.target.is_reached(self) else "missed"

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "floor": self.floor,
            "ratio": self.ratio if self.floors else None,
            "spread": list(self.spread),
            "target": str(self.target) if self.target else None,
            "verdict": self.verdict,
        }


def percentile(samples: Sequence[float], percent: int) -> float:
    """percent: 1 to 99."""
    return quantiles(samples, n=100, method="inclusive")[percent - 1]


def table(figures: Sequence[Figure]) -> str:
    """Aligned columns; the spread is that of what the target is about."""
    rows = [["", "measured", "unit", "floor", "ratio", "spread", "target", ""]]
    for figure in figures:
        floor, ratio = (short(figure.floor), f"{figure.ratio:.2f}") if figure.floor else ("", "")
        spread = "" if len(figure.values) == 1 else " - ".join(map(short, figure.spread))
        target = str(figure.target or "")
        rows.append([figure.name, short(figure.value), figure.unit, floor, ratio, spread, target, figure.verdict])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = "<><>>><<"
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in rows
    )


def short(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
