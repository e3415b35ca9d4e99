"""Read a pickle as a description: no code in it can run.

Every opcode is checked first, and an unpickler that knows a handful of names then builds plain containers and
descriptions. What the descriptions say of sizes is for the caller to check.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from xaijax.models._files import FileError

# What named arrays need. Anything else (the text of protocol 0, old instances, the extension registry, out-of-band
# buffers) is refused before the unpickler sees the file.
# fmt: off
_OPCODES = frozenset(
    {
        "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE",
        "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
        "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_TUPLE", "TUPLE", "TUPLE1",
        "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT",
        "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET", "BINGET",
        "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL",
        "REDUCE", "NEWOBJ", "BUILD", "BINPERSID",
    }
)
# fmt: on
_PUT_OPCODES = frozenset({"BINPUT", "LONG_BINPUT"})

# What a malformed pickle makes the two readers raise.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    DeprecationWarning,  # a bad escape in a string, where warnings are errors
)

# What a name in a pickle stands for. The factory is called for each lookup: a pickle can set attributes on a function
# it gets (its defaults, say), and must not reach the next file that way.
Admitted = Mapping[tuple[str, str], Callable[[], Any]]


def unpickle(
    data: bytes,
    start: int,
    admitted: Admitted,
    *,
    persistent: Callable[[Any], Any] | None = None,
    fix: str,
) -> tuple[Any, int]:
    """Read one pickle.

    Args:
        data: The bytes of the file.
        start: Where in them the pickle starts.
        admitted: (module, name) to a function that makes what stands in for it; every other name is refused.
        persistent: Makes what stands in for a persistent id; without it, they are refused.
        fix: What to do about a pickle that is refused.

    Returns:
        The content, and where the pickle ends.

    Raises:
        FileError: The pickle is damaged, or names anything else.
    """
    stream = io.BytesIO(data)
    stream.seek(start)
    # The unpickler trusts the sizes it reads: a memo index of a billion makes it allocate a
    # billion slots. `pickletools` checks that each argument is in the file; the memo index is
    # checked here.
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if opcode.name not in _OPCODES:
                raise FileError(f"whose pickle has the opcode {opcode.name}", fix)
            if opcode.name in _PUT_OPCODES and not (
                isinstance(argument, int) and 0 <= argument <= number
            ):
                raise FileError(f"whose pickle has the memo index {argument}")
    except _PICKLE_ERRORS as error:
        raise FileError(f"whose pickle is truncated or damaged ({error})") from error
    end = stream.tell()
    try:
        content = _Unpickler(io.BytesIO(data[start:end]), admitted, persistent, fix).load()
    except _PICKLE_ERRORS as error:
        raise FileError(f"whose pickle is damaged ({error})") from error
    return content, end


class _Unpickler(pickle.Unpickler):
    """An unpickler that admits a handful of names and nothing else."""

    def __init__(
        self,
        stream: io.BytesIO,
        admitted: Admitted,
        persistent: Callable[[Any], Any] | None,
        fix: str,
    ) -> None:
        super().__init__(stream, fix_imports=False, encoding="ascii")
        self._admitted = admitted
        self._persistent = persistent
        self._fix = fix

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) in self._admitted:
            return self._admitted[module, name]()
        raise FileError(
            f"whose pickle names '{module}.{name}'; it is refused, because a pickle can run code",
            self._fix,
        )

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise FileError("whose pickle refers to data outside of it", self._fix)
        return self._persistent(pid)


def is_count(value: Any) -> bool:
    """Whether a value from a file is a size."""
    return type(value) is int and value >= 0


def is_counts(values: Any) -> bool:
    """Whether a value from a file is a shape."""
    return isinstance(values, tuple) and all(is_count(value) for value in values)


def describe(value: Any) -> str:
    """Name a value from a file, without the representation of a container, which may be huge."""
    if type(value) is str:
        return repr(value[:80])
    return str(value) if type(value) is int and abs(value) < 2**63 else type(value).__name__
