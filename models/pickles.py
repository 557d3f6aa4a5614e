"""The content of a pickle without running it: data, and names that only stand for what they name.

Unpickling calls whatever functions the file names. This module reads the instructions instead (`pickletools`) and
carries out the few that put data together. A function or class is never looked up: `Name` stands for it, and a call of
it is answered by a table of the caller's, or refused by name.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MARK = object()
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    (
        "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        "BINSTRING", "SHORT_BINSTRING", "STRING",
    )
)  # fmt: skip
_EMPTY: Mapping[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES: Mapping[str, int] = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset(("PROTO", "FRAME"))


class UnsafeFileError(ValueError):
    """A file asks for something that is not data; one line that names it."""


@dataclass(frozen=True)
class Name:
    """A function or class that the pickle names, such as `torch FloatStorage`. It is not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Held:
    """An object of an answered call with the state that the pickle gives it."""

    value: Any
    state: Any = None


Call = Callable[[tuple[Any, ...]], Any]


@dataclass
class _Machine:
    calls: Mapping[str, Call]
    persistent: Call
    stack: list[Any] = field(default_factory=list[Any])
    memo: dict[int, Any] = field(default_factory=dict[int, Any])

    def marked(self) -> list[Any]:
        """What lies above the last mark, which is taken away."""
        place = max(index for index, item in enumerate(self.stack) if item is _MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def call(self, function: Any, arguments: Any) -> Any:
        """The table's answer to a call."""
        if not isinstance(function, Name) or str(function) not in self.calls or not isinstance(arguments, tuple):
            raise UnsafeFileError(f"calls {function}, which is no tensor, number, text or container")
        return self.calls[str(function)](arguments)


def read_pickle(data: bytes, *, calls: Mapping[str, Call], persistent: Call) -> Any:
    """Reads a pickle.

    Args:
        data: The pickle; anything after its end is not read.
        calls: `module.name` to what answers a call of it, from its arguments.
        persistent: What answers a reference to data outside the pickle.

    Returns:
        Dictionaries, lists, tuples, texts, bytes, numbers, and what `calls` and `persistent` answered.

    Raises:
        UnsafeFileError: The pickle calls something that is not in `calls`, or uses an instruction other than those
            that put data together.
        ValueError: The pickle is damaged.
    """
    machine = _Machine(calls, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.stack.pop()
            _step(machine, opcode.name, argument)
    except UnsafeFileError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"its pickle is damaged ({error})") from error
    raise ValueError("its pickle is damaged (it has no end)")


def _step(machine: _Machine, code: str, argument: Any) -> None:
    stack = machine.stack
    if code in _NOTHING:
        return
    if code in _CONSTANTS:
        stack.append(_CONSTANTS[code])
    elif code in _LITERALS:
        stack.append(argument)
    elif code in _EMPTY:
        stack.append(_EMPTY[code]())
    elif code in _TUPLES:
        items = tuple(stack[-_TUPLES[code] :])
        del stack[-_TUPLES[code] :]
        stack.append(items)
    elif code in _ACTIONS:
        _ACTIONS[code](machine, argument)
    else:
        raise UnsafeFileError(f"uses the pickle instruction {code}, which weights do not need")


def _name(machine: _Machine, argument: str) -> None:
    module, name = argument.split(" ", 1)
    machine.stack.append(Name(module, name))


def _stack_name(machine: _Machine, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(Name(str(module), str(name)))


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.call(function, arguments))


def _build(machine: _Machine, _: Any) -> None:
    state = machine.stack.pop()
    if isinstance(machine.stack[-1], Held):
        machine.stack[-1].state = state
    elif not isinstance(machine.stack[-1], dict):  # an OrderedDict's attributes, such as _metadata, carry no weights
        raise UnsafeFileError(f"gives a state to {type(machine.stack[-1]).__name__}, which has none")


def _persistent(machine: _Machine, _: Any) -> None:
    machine.stack.append(machine.persistent(machine.stack.pop()))


def _set_items(machine: _Machine, _: Any) -> None:
    items = machine.marked()
    _put(machine, items)


def _set_item(machine: _Machine, _: Any) -> None:
    items = machine.stack[-2:]
    del machine.stack[-2:]
    _put(machine, items)


def _put(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict):
        raise UnsafeFileError(f"sets items of {type(target).__name__}, which is no dictionary")
    target.update(zip(items[::2], items[1::2], strict=True))


def _extend(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise UnsafeFileError(f"appends to {type(target).__name__}, which is no list")
    target.extend(items)


def _remember(machine: _Machine, place: Any) -> None:
    machine.memo[len(machine.memo) if place is None else int(place)] = machine.stack[-1]


_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "GLOBAL": _name,
    "STACK_GLOBAL": _stack_name,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _persistent,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPEND": lambda machine, _: _extend(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, _: _extend(machine, machine.marked()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "LIST": lambda machine, _: machine.stack.append(machine.marked()),
    "POP": lambda machine, _: machine.stack.pop() and None,
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "PUT": _remember,
    "MEMOIZE": _remember,
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[int(place)]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[int(place)]),
    "GET": lambda machine, place: machine.stack.append(machine.memo[int(place)]),
}
