"""How formulas come from others: weighted random trees, tournament, crossover and mutation (DEAP).

Every draw is a function of its key, so a search is the same on any number of processes and after any stop.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain

from deap import gp, tools

from spineloss.grammar import Formula
from spineloss.learned.formula import MAPS, MEAN, OPERATORS
from spineloss.seeding import seed_of

# Probabilities of occurrence, up to a factor, wherever a node's type allows it.
WEIGHTS = {
    "add": 3.0, "subtract": 3.0, "multiply": 4.0, "divide": 3.0, "power": 0.5, "square": 1.0, "root": 0.5,
    "log": 2.0, "absolute": 1.0, "complement": 3.0, "negate": 2.0, MEAN: 20.0, "p": 5.0, "y": 5.0, "constant": 2.0,
}  # fmt: skip
DEPTHS = 2, 6  # levels below the root of a random tree: its leaves lie between, numbers may be higher
SUBTREE_DEPTHS = 0, 3  # of one that replaces another
TOURNAMENT = 4  # formulas that compete by fitness
PARSIMONY = 1.4  # of two winners the shorter goes on with half this probability
SPREAD = 0.3  # of a constant's logarithm when it mutates


class Kind(type):
    """A type of values, hashed by its rank: DEAP draws from sets of types, and the draw must be repeatable."""

    rank: int

    def __hash__(cls) -> int:
        return cls.rank


class Value(metaclass=Kind):
    """Anything."""

    rank = 0


class Map(Value):
    """A value for each voxel."""

    rank = 1


class Measure(Value):
    """A value for a sample, made of its maps."""

    rank = 2


class Constant(Value):
    """A number. Operators have none alone as arguments, so that no tree is spent on sums of numbers."""

    rank = 3


MADE_OF: dict[int, dict[type, tuple[tuple[type, ...], ...]]] = {
    1: {Map: ((Map,),), Measure: ((Measure,),)},
    2: {
        Map: ((Map, Value), (Value, Map)),
        Measure: ((Measure, Measure), (Measure, Constant), (Constant, Measure)),
    },
}  # by arity and type of the result: the types of the arguments


class Tree(gp.PrimitiveTree):
    """A formula as DEAP varies it, with its fitness."""

    fitness: float


@dataclass(frozen=True)
class Scored:
    """A formula and what it is worth: more is better."""

    formula: Formula
    fitness: float


def random_formula(*key: int | str) -> Formula:
    """A weighted random formula with one value a sample."""
    with _drawing(*key):
        return formula_of(_grow(_primitives(), Measure, DEPTHS))


def child(parents: Sequence[Scored], *key: int | str) -> Formula:
    """A formula made of one or two of the parents, which win tournaments; now and then a fresh one."""
    with _drawing(*key):
        (vary,) = random.choices(list(VARIATIONS), VARIATIONS.values())
        return formula_of(vary([_tree(parent) for parent in parents]))


def _crossover(parents: list[Tree]) -> Tree:
    return gp.cxOnePoint(*_tournament(parents, 2))[0]


def _node_mutation(parents: list[Tree]) -> Tree:
    return gp.mutNodeReplacement(*_tournament(parents, 1), _primitives())[0]


def _subtree_mutation(parents: list[Tree]) -> Tree:
    return gp.mutUniform(*_tournament(parents, 1), _subtree, _primitives())[0]


def _constant_mutation(parents: list[Tree]) -> Tree:
    (tree,) = _tournament(parents, 1)
    for place, node in enumerate(tree):
        if node.ret is Constant:
            tree[place] = _constant(node.value * random.lognormvariate(0, SPREAD))
    return tree


def _fresh(parents: list[Tree]) -> Tree:
    return Tree(_grow(_primitives(), Measure, DEPTHS))


VARIATIONS: dict[Callable[[list[Tree]], Tree], float] = {
    _crossover: 0.4,
    _subtree_mutation: 0.2,
    _node_mutation: 0.15,
    _constant_mutation: 0.15,
    _fresh: 0.1,
}


def _tournament(parents: list[Tree], winners: int) -> list[Tree]:
    chosen = tools.selDoubleTournament(parents, winners, TOURNAMENT, PARSIMONY, fitness_first=True)
    return [Tree(tree) for tree in chosen]


def formula_of(tree: Sequence[gp.Primitive | gp.Terminal]) -> Formula:
    """The formula of a tree's nodes, each before its arguments."""
    nodes = iter(tree)

    def read() -> Formula:
        node = next(nodes)
        if node.arity == 0:
            return Formula(node.value)
        return Formula(_operator(node), tuple(read() for _ in range(node.arity)))

    return read()


def _tree(scored: Scored) -> Tree:
    tree = Tree(_nodes(scored.formula))
    tree.fitness = scored.fitness
    return tree


def _nodes(formula: Formula) -> list[gp.Primitive | gp.Terminal]:
    known = _primitives().mapping
    if not formula.arguments:
        return [known[formula.head] if formula.head in MAPS else _constant(formula.head)]
    inside = [_nodes(argument) for argument in formula.arguments]
    given = [nodes[0].ret for nodes in inside]
    node = next(
        node
        for node in known.values()
        if getattr(node, "arity", 0) == len(given)
        and _operator(node) == formula.head
        and all(map(issubclass, given, node.args))
    )
    return [node, *chain.from_iterable(inside)]


@cache
def _primitives() -> gp.PrimitiveSetTyped:
    primitives = gp.PrimitiveSetTyped("losses", [], Measure)
    for name in MAPS:
        primitives.addTerminal(name, Map, name)
    primitives.addEphemeralConstant("constant", _drawn_constant, Constant)
    for name, operator in OPERATORS.items():
        forms = {Measure: ((Map,),)} if name == MEAN else MADE_OF[operator.arity]
        for result, alternatives in forms.items():
            for given in alternatives:
                # DEAP wants another name for each form.
                form = " ".join(kind.__name__ for kind in given)
                primitives.addPrimitive(operator.compute, given, result, f"{name} {form}")
    return primitives


def _operator(node: gp.Primitive | gp.Terminal | type) -> str:
    return node.name.partition(" ")[0]


def _drawn_constant() -> float:
    return round(random.uniform(0, 2), 2)


def _constant(value: float) -> gp.Terminal:
    return gp.Terminal(float(f"{value:.3g}"), False, Constant)


def _grow(
    primitives: gp.PrimitiveSetTyped, type_: type, depths: tuple[int, int]
) -> list[gp.Primitive | gp.Terminal]:
    """Weighted random nodes of a tree, each leaf between two depths, a number perhaps above."""
    nodes, waiting = [], [(type_, 0)]
    while waiting:
        wanted, depth = waiting.pop()
        choices = _choices(primitives, wanted, depth, *depths)
        (node,) = random.choices(choices, [WEIGHTS[_operator(choice)] for choice in choices])
        nodes.append(node() if isinstance(node, gp.MetaEphemeral) else node)
        waiting += [(given, depth + 1) for given in reversed(getattr(node, "args", []))]
    return nodes


def _choices(
    primitives: gp.PrimitiveSetTyped, wanted: type, depth: int, least: int, most: int
) -> list[gp.Primitive | gp.Terminal | type]:
    leaves = primitives.terminals[wanted]
    if depth >= most:
        return leaves
    # A measure has no leaves of its own: near the bottom it can only be the mean of a map.
    inner = [
        node
        for node in primitives.primitives[wanted]
        if depth + 1 < most or all(map(primitives.terminals.get, node.args))
    ]
    return inner if inner and depth < least else [*inner, *leaves]


@contextmanager
def _drawing(*key: int | str) -> Iterator[None]:
    """DEAP draws from Python's one stream: it is that of the key inside, and as it was afterwards."""
    before = random.getstate()
    random.seed(seed_of(*key))
    try:
        yield
    finally:
        random.setstate(before)


def _subtree(pset: gp.PrimitiveSetTyped, type_: type) -> list[gp.Primitive | gp.Terminal]:
    return _grow(pset, type_, SUBTREE_DEPTHS)
