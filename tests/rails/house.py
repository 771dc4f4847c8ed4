"""The house as its imports draw it: modules, the rooms they are in (packages), and circles among them.

Every import counts: those inside functions, and those for types only, because a reader has to follow them as well.
`python -m tests.rails.house` prints the circles and the table of rooms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import grimp

ROOTS = ("mssgw", "dmp_connector")
Arrows = dict[str, set[str]]


@dataclass(frozen=True)
class House:
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


def drawn() -> House:
    graph = grimp.build_graph(*ROOTS, cache_dir=None, exclude_type_checking_imports=False)
    return House(frozenset(graph.modules), {module: graph.find_modules_directly_imported_by(module) for module in graph.modules})


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


def room_of(module: str) -> str:
    """The package or module directly below a root that a module belongs to."""
    return ".".join(module.split(".")[:2])


def rooms(house: House) -> Arrows:
    """Each room and the rooms that it imports."""
    found: Arrows = {room_of(module): set() for module in house.modules}
    for module, targets in house.imports.items():
        found[room_of(module)] |= {room_of(target) for target in targets} - {room_of(module)}
    return found


def table(house: House) -> str:
    """Markdown: the rooms, each with what it stands on."""
    drawing = rooms(house)
    arrows = sum(len(targets) for targets in drawing.values())
    lines = [f"{len(drawing)} rooms, {arrows} arrows, {len(circles(drawing))} circles.", "", "| room | imports |", "|---|---|"]
    lines += [f"| `{room}` | {', '.join(_short(room, targets)) or '-'} |" for room, targets in sorted(drawing.items())]
    return "\n".join(lines)


def _short(room: str, targets: Iterable[str]) -> list[str]:
    """Neighbours without the root that they share; of the other root its name alone."""
    root = room.partition(".")[0]
    return sorted({f"`{target.removeprefix(f'{root}.') if target.startswith(root) else target.partition('.')[0]}`" for target in targets})


if __name__ == "__main__":
    print(table(drawn()))
