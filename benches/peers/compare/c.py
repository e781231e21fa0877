"""Libraries called through C."""

import ctypes


def declare(library: ctypes.CDLL, functions: dict[str, tuple[type | None, list]]) -> ctypes.CDLL:
    """Tells ctypes what the functions return, and their parameters."""
    for name, (result, parameters) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    return library


def text(function: ctypes._CFuncPtr, *arguments: object) -> str:
    """What a function returns that gives a string without an end, and its length last."""
    length = ctypes.c_size_t()
    start = function(*arguments, ctypes.byref(length))
    return ctypes.string_at(start, length.value).decode()
