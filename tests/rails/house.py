"""The house as its imports draw it: modules, the rooms they are in (packages), and circles among them.

Every import counts: those inside functions, and those for types only, because a reader has to follow them as well.
`make docs` writes the drawing into docs/architecture.md (`python -m tests.rails.house PAGE`).
"""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import grimp

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
ROOTS: list[str] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["root_packages"]
BEGIN, END = "<!-- rooms: written by `make docs` -->", "<!-- end of rooms -->"
Arrows = dict[str, set[str]]


@dataclass(frozen=True)
class ImportGraph:
    modules: frozenset[str]
    imports: Arrows

    @property
    def packages(self) -> list[str]:
        return sorted({module.rpartition(".")[0] for module in self.modules} - {""})

    def arrows_inside(self, package: str) -> Arrows:
        """Which child of a package imports which other one, whatever their depth. What a package re-exports is no arrow."""
        found: Arrows = defaultdict(set)
        for module, targets in self.imports.items():
            for target in targets:
                one, other = child(package, module), child(package, target)
                if one and other and one != other:
                    found[one].add(other)
        return found


def child(package: str, module: str) -> str:
    """The part of a package, below it, that a module belongs to; "" when it does not, or is the package itself."""
    return module[len(package) + 1 :].partition(".")[0] if module.startswith(f"{package}.") else ""


def drawn() -> ImportGraph:
    graph = grimp.build_graph(*ROOTS, cache_dir=None, exclude_type_checking_imports=False)
    return ImportGraph(frozenset(graph.modules), {module: graph.find_modules_directly_imported_by(module) for module in graph.modules})


def circles(arrows: Arrows) -> list[tuple[str, ...]]:
    """Strongly connected sets of two or more (Tarjan 1972), each sorted."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(one: str) -> None:
        number[one] = low[one] = len(number)
        stack.append(one)
        for other in sorted(arrows.get(one, ())):
            if other not in number:
                visit(other)
                low[one] = min(low[one], low[other])
            elif other in stack:
                low[one] = min(low[one], number[other])
        if low[one] == number[one]:
            at = stack.index(one)
            members = tuple(sorted(stack[at:]))
            del stack[at:]
            if len(members) > 1:
                found.append(members)

    for one in sorted(arrows):
        if one not in number:
            visit(one)
    return found


def rooms(house: ImportGraph, root: str) -> Arrows:
    """The packages and modules directly below a root, each with those that it imports."""
    found: Arrows = {child(root, module): set() for module in house.modules if child(root, module)}
    for one, others in house.arrows_inside(root).items():
        found[one] |= others
    return found


def floors(arrows: Arrows) -> list[list[str]]:
    """The rooms floor by floor, the lowest first: each stands directly above the highest one that it imports. Needs no circle."""
    height: dict[str, int] = {}

    def measure(one: str) -> int:
        if one not in height:
            height[one] = 1 + max((measure(other) for other in arrows.get(one, ())), default=0)
        return height[one]

    for one in arrows:
        measure(one)
    return [sorted(one for one in arrows if height[one] == floor) for floor in range(1, max(height.values()) + 1)]


def drawing(house: ImportGraph) -> str:
    """Markdown: of each root how many rooms, arrows and circles it has, and its rooms from the roof down."""
    parts = []
    for root in ROOTS:
        arrows = rooms(house, root)
        if not arrows:  # a root that is one room
            continue
        found = floors(arrows)
        count = sum(len(others) for others in arrows.values())
        parts.append(f"`{root}`: {len(arrows)} rooms on {len(found)} floors, {count} arrows, {len(circles(arrows))} circles.\n")
        parts += ["| floor | rooms |", "|---|---|"]
        parts += [f"| {number} | {' '.join(f'`{one}`' for one in found[number - 1])} |" for number in range(len(found), 0, -1)]
        parts.append("")
    return "\n".join(parts)


def redrawn(page: str, text: str) -> str:
    """A page with the drawing between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(redrawn(path.read_text(encoding="utf-8"), drawing(drawn())), encoding="utf-8")
