"""A few lines of Python, worked out without running them: the syntax tree of a small subset, evaluated step by step.

Known: whole and decimal numbers, strings, lists, truth values; arithmetic, comparisons, ``and or not``, indexing and
slices; ``len sum min max sorted abs range str int round``; a few methods of strings and lists; assignments, ``if``,
``for`` and ``print``. Everything else is refused: no import, no attribute but those methods, no call but those names.
Steps, sizes of numbers and lengths are bounded.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

MAX_STEPS = 20_000
MAX_NUMBER = 10**18
MAX_LENGTH = 10_000
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, box: item in box,
    ast.NotIn: lambda item, box: item not in box,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "sum": sum,
    "min": min,
    "max": max,
    "sorted": sorted,
    "abs": abs,
    "range": lambda *numbers: list(_short_range(*numbers)),
    "str": str,
    "int": int,
    "round": round,
}
METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        ["upper", "lower", "title", "count", "replace", "split", "strip", "startswith", "endswith", "find", "join"]
    ),
    list: frozenset(["append", "count", "index", "pop"]),
}


class Refused(ValueError):
    """The program has something that is not known here, or takes too long."""


def _short_range(*numbers: int) -> range:
    steps = range(*numbers)
    if len(steps) > MAX_LENGTH:
        raise Refused("a range that is too long")
    return steps


def value_of(expression: str) -> Any:
    """The value of an expression.

    Raises:
        Refused: not in the subset, or wrong (a division by zero, an index that is not there).
    """
    return _guarded(lambda machine: machine.value(ast.parse(expression, mode="eval").body))


def printed(program: str) -> str:
    """What a program prints, lines joined by line ends.

    Raises:
        Refused: as ``value_of``.
    """

    def run(machine: _Machine) -> str:
        machine.block(ast.parse(program).body)
        return "\n".join(machine.lines)

    return _guarded(run)


def _guarded(work: Callable[[_Machine], Any]) -> Any:
    try:
        return work(_Machine())
    except Refused:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        raise Refused(f"{type(error).__name__}: {error}") from error


class _Machine:
    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.lines: list[str] = []
        self.steps = 0

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._step()
            self._do(statement)

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Refused("too many steps")

    def _do(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self.names[node.targets[0].id] = self.value(node.value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            changed = self._operate(type(node.op), self.names[node.target.id], self.value(node.value))
            self.names[node.target.id] = changed
        elif isinstance(node, ast.If):
            self.block(node.body if self.value(node.test) else node.orelse)
        elif isinstance(node, ast.For) and isinstance(node.target, ast.Name) and not node.orelse:
            for item in list(self.value(node.iter)):
                self._step()
                self.names[node.target.id] = item
                self.block(node.body)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._statement(node.value)
        else:
            raise Refused(f"{type(node).__name__} in line {node.lineno}")

    def _statement(self, call: ast.Call) -> None:
        if isinstance(call.func, ast.Name) and call.func.id == "print" and not call.keywords:
            self.lines.append(" ".join(str(self.value(argument)) for argument in call.args))
        else:
            self.value(call)

    def value(self, node: ast.expr) -> Any:
        self._step()
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, str, bool):
            return self._bounded(node.value)
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                raise Refused(f"unknown name '{node.id}'")
            return self.names[node.id]
        if isinstance(node, ast.List):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.BinOp):
            return self._operate(type(node.op), self.value(node.left), self.value(node.right))
        if isinstance(node, ast.UnaryOp):
            found = self.value(node.operand)
            if isinstance(node.op, ast.USub):
                return -found
            if isinstance(node.op, ast.Not):
                return not found
        if isinstance(node, ast.BoolOp):
            found = [bool(self.value(part)) for part in node.values]
            return all(found) if isinstance(node.op, ast.And) else any(found)
        if isinstance(node, ast.Compare):
            values = [self.value(part) for part in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return all(self._operate(type(op), a, b) for op, a, b in pairs)
        if isinstance(node, ast.Subscript):
            return self._part(node)
        if isinstance(node, ast.Call) and not node.keywords:
            return self._bounded(self._call(node))
        raise Refused(type(node).__name__)

    def _operate(self, kind: type, a: Any, b: Any) -> Any:
        if kind not in OPERATORS:
            raise Refused(kind.__name__)
        if kind is ast.Mult and (isinstance(a, str | list) or isinstance(b, str | list)):
            lengths = [one if isinstance(one, int) else len(one) for one in (a, b)]
            if lengths[0] * lengths[1] > MAX_LENGTH:
                raise Refused("a text that is too long")
        return self._bounded(OPERATORS[kind](a, b))

    def _part(self, node: ast.Subscript) -> Any:
        whole = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            ends = (self.value(end) if end else None for end in (node.slice.lower, node.slice.upper, node.slice.step))
            return whole[slice(*ends)]
        return whole[self.value(node.slice)]

    def _call(self, node: ast.Call) -> Any:
        arguments = [self.value(argument) for argument in node.args]
        if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            return FUNCTIONS[node.func.id](*arguments)
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            if node.func.attr in METHODS.get(type(owner), ()):
                return getattr(owner, node.func.attr)(*arguments)
        raise Refused(f"call of {ast.unparse(node.func)}")

    def _bounded(self, found: Any) -> Any:
        if isinstance(found, int | float) and abs(found) > MAX_NUMBER:
            raise Refused("a number that is too large")
        if isinstance(found, str | list) and len(found) > MAX_LENGTH:
            raise Refused("a text that is too long")
        return found
