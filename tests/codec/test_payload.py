"""Objects to payload and back, and what can't make the way."""

from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import gc
import pickle
import subprocess
import sys
import threading
import types
import typing
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.codec import payload
from bgpy.codec.payload import OUT_OF_BAND, decode, joined
from bgpy.errors import BgpyError, DecodeError, EncodeError, NotInitialized, PythonMismatch
from bgpy.memory import allocate
from bgpy.system import reserve
from tests.support.packed import Packed, encode


def _over(packed: Packed) -> Packed:
    """The payload as it arrives: its parts in memory of the receiver's own."""
    received = []
    for buffer in packed.buffers:
        memory = allocate(buffer.nbytes)
        memory[:] = buffer
        received.append(memory)
    return Packed(joined(packed.head), received, packed.code)


def _there(obj: Any) -> Any:
    return decode(*_over(encode(obj, "args")), "args")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.dates()
    | st.decimals(allow_nan=False)
)
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(OBJECTS)
def test_decode_gives_back_what_was_encoded(obj: Any) -> None:
    """Whatever is built of Python's own types."""
    assert _there(obj) == obj


@pytest.mark.parametrize(
    "obj", [{"a": 1}, collections.OrderedDict(a=1), ValueError, len, NotInitialized("why").args]
)
def test_encode_uses_plain_pickle_when_that_will_do(obj: Any) -> None:
    """No bytecode, so any Python version reads it."""
    packed = encode(obj, "args")
    assert not packed.code
    assert pickle.loads(packed.head) == obj


class WithoutCode:
    """A script's, as it were."""

    mark = 1


class Kind(enum.Enum):
    """The same, of another metaclass."""

    ONE = 1


def _of_script(monkeypatch: pytest.MonkeyPatch, kind: type) -> type:
    monkeypatch.setattr(kind, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], kind.__name__, kind, raising=False)
    return kind


@pytest.mark.parametrize(
    "obj",
    [
        {"a": 1}.keys(),
        {"a": 1}.items(),
        types.MappingProxyType({"a": 1}),
        types,
        types.FunctionType,
        types.CodeType,
        typing.AnyStr,
    ],
    ids=repr,
)
def test_what_has_a_way_of_cloudpickles_but_no_code_is_read_by_any_python(obj: Any) -> None:
    """What makes it anew over there is in a module."""
    packed = encode([obj], "args")
    assert not packed.code
    assert decode(*_over(packed), "args") == [obj]


@pytest.mark.parametrize("kind", [WithoutCode, Kind])
def test_class_of_a_script_counts_as_code_only_if_it_has_some(
    monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    """One function among its members is enough."""
    packed = encode(_of_script(monkeypatch, kind), "args")
    assert not packed.code
    assert decode(*_over(packed), "args") is kind
    monkeypatch.setattr(kind, "method", lambda self: 1, raising=False)
    assert encode(kind, "args").code


def _closure(number: int) -> Any:
    def add(other: int) -> int:
        return number + other

    return add


def test_decode_gives_back_functions_when_they_have_no_name_to_be_found_by() -> None:
    """Lambdas and closures travel by value."""
    packed = encode([lambda x: x * 2, _closure(3)], "args")
    assert packed.code
    double, add = decode(*_over(packed), "args")
    assert (double(4), add(4)) == (8, 7)


def test_decode_gives_back_classes_when_they_were_made_in_a_function() -> None:
    """With their methods."""

    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

        def doubled(self) -> int:
            return 2 * self.x

    assert _there(Point(4)).doubled() == 8


MAIN = """
import sys
from bgpy.codec.payload import encode

class Point:
    def __init__(self, x):
        self.x = x
    def doubled(self):
        return 2 * self.x

head, _, code = encode({"point": Point(4), "text": "about __main__"}, "args")
sys.stdout.buffer.write(bytes((code,)) + head)
"""


def test_decode_gives_back_objects_of_a_script_when_it_is_another_main_here(
    tmp_path: Path,
) -> None:
    """Plain pickle would name `__main__`, which is another module on the other side."""
    script = tmp_path / "script.py"
    script.write_text(MAIN)
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=True)
    args = decode(done.stdout[1:], [], bool(done.stdout[0]), "args")
    assert args["point"].doubled() == 8
    assert args["text"] == "about __main__"


def test_encode_keeps_large_buffers_out_of_the_pickle() -> None:
    """They are neither copied nor pickled, and arrive writable."""
    array = np.arange(OUT_OF_BAND, dtype=np.uint8)
    packed = encode({"x": array}, "args")
    assert len(packed.head) < 1000
    (buffer,) = packed.buffers
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), array)
    received = decode(*_over(packed), "args")["x"]
    assert received.flags.writeable
    received += 1
    assert received[0] == 1
    assert array[0] == 0


def _of_size(size: int) -> Any:
    return np.zeros(size, np.uint8)


@pytest.mark.parametrize(
    ("obj", "count"),
    [
        (_of_size(OUT_OF_BAND), 1),
        (_of_size(OUT_OF_BAND - 1), 0),
        ([_of_size(OUT_OF_BAND), _of_size(10)], 1),
        ([_of_size(10), _of_size(OUT_OF_BAND), _of_size(OUT_OF_BAND + 1)], 2),
        (np.zeros((1000, 1000), np.uint8).T, 1),
        (np.zeros((1000, 1000), np.uint8)[::2, ::2], 0),
        (np.zeros(0, np.uint8), 0),
        ([_of_size(OUT_OF_BAND), lambda: None], 1),
        (bytes(2 * OUT_OF_BAND), 0),
    ],
    ids=[
        "large",
        "small",
        "large and small",
        "two of three",
        "by columns",
        "with gaps",
        "empty",
        "with a lambda",
        "bytes",
    ],
)
def test_encode_counts_buffers_by_their_size(obj: Any, count: int) -> None:
    """Small ones travel inside, also beside large ones; the values are the same."""
    packed = encode(obj, "args")
    assert len(packed.buffers) == count
    received = decode(*_over(packed), "args")
    if isinstance(obj, np.ndarray):
        assert received.shape == obj.shape
        assert (received == obj).all()


class Slotted:
    """Something of the user's with parts."""

    def __init__(self, lock: object) -> None:
        self.lock = lock


LOCK = threading.Lock()


def _holds(held: object) -> Any:
    def inner() -> object:
        return held

    return inner


@pytest.mark.parametrize(
    ("obj", "name"),
    [
        (LOCK, "args"),
        ({"x": LOCK}, r"args\['x'\]"),
        ({"fine": 1, "x": [1, LOCK]}, r"args\['x'\]\[1\]"),
        ({"a": {"b": (1, {"c": LOCK})}}, r"args\['a'\]\['b'\]\[1\]\['c'\]"),
        ({"x": Slotted(LOCK)}, r"args\['x'\] -> attribute 'lock'"),
        ({7: _holds(LOCK)}, r"args\[7\] -> function \S+inner -> variable 'held'"),
        ([[[[[[LOCK]]]]]], r"args\[0\]\[0\]\[0\]\[0\]\[0\]\[0\]"),
    ],
)
def test_encode_names_the_part_when_it_cannot_be_sent(obj: Any, name: str) -> None:
    """The user learns which argument to leave out."""
    with pytest.raises(EncodeError, match=rf"^{name} can't be sent: .*lock"):
        encode(obj, "args")


def test_encode_raises_when_an_object_contains_itself_too_deep() -> None:
    """No crash, an error."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match=r"^args\['x'\].*deep"):
        encode({"x": deep}, "args")


@pytest.mark.parametrize("code", [False, True])
@pytest.mark.parametrize(
    "head", [b"", b"garbage", pickle.dumps({"a": 1})[:-3], b"cno_such_module\nthing\n."]
)
def test_decode_names_what_is_missing_when_an_object_cannot_be_rebuilt(
    head: bytes, code: bool
) -> None:
    """Whatever pickle raises is a `DecodeError` here."""
    version = bytes(sys.version_info[:2]) if code else b""
    with pytest.raises(DecodeError, match=r"^args can't be rebuilt here: ") as caught:
        decode(version + head, [], code, "args")
    assert caught.value.__cause__ is not None
    assert type(caught.value) is DecodeError


def test_decode_says_what_to_do_when_a_module_is_missing() -> None:
    """As the caller's, of a class of the init file; not where something else is wrong."""
    with pytest.raises(DecodeError, match="'no_such_module' importable on this side") as caught:
        decode(b"cno_such_module\nthing\n.", [], False, "response")
    assert caught.value.advice is not None
    with pytest.raises(DecodeError) as other:
        decode(b"garbage", [], False, "response")
    assert other.value.advice is None


class RaisesOurs:
    """An object that fails with one of bgpy's errors when it is rebuilt."""

    def __reduce__(self) -> Any:
        return _raise_ours, ()


def _raise_ours() -> None:
    raise NotInitialized("while it was rebuilt")


def test_decode_leaves_an_error_of_bgpys_as_it_is() -> None:
    """It says already what happened."""
    with pytest.raises(BgpyError) as caught:
        _there(RaisesOurs())
    assert type(caught.value) is NotInitialized


CANARIES: list[str] = []


class Canary:
    """Sings when it is rebuilt."""

    def __reduce__(self) -> Any:
        return _sing, ()


def _sing() -> None:
    CANARIES.append("sang")


@pytest.mark.parametrize(
    "version", [(3, 10), (2, 7), (sys.version_info[0], sys.version_info[1] + 1), (255, 255)]
)
def test_decode_refuses_bytecode_before_it_is_loaded_when_the_python_differs(
    version: tuple[int, int],
) -> None:
    """Not an opcode runs; the message names both versions."""
    packed = pickle.dumps(Canary())
    with pytest.raises(PythonMismatch, match=rf"Python {version[0]}\.{version[1]}, and this is"):
        decode(bytes(version) + packed, [], True, "tasks")
    assert CANARIES == []
    decode(bytes(sys.version_info[:2]) + packed, [], True, "tasks")
    assert CANARIES.pop() == "sang"


@pytest.mark.parametrize(
    ("what", "advice"),
    [("tasks", r"\(init_file=\)"), ("args", "into a module"), ("response", "into a module")],
)
def test_decode_advises_what_helps_when_the_python_differs(what: str, advice: str) -> None:
    """Only the three functions can stand in an init file."""
    with pytest.raises(PythonMismatch, match=advice):
        decode(b"\2\7" + pickle.dumps(1), [], True, what)


def test_encode_imports_cloudpickle_only_when_it_is_needed() -> None:
    """It costs more than Python's own start."""
    code = (
        "import sys; from bgpy.codec.payload import encode, decode\n"
        "decode(*encode({'a': [1, 'x']}, 'args'), 'args')\n"
        "assert 'cloudpickle' not in sys.modules\n"
        "encode(lambda: 1, 'args')\n"
        "assert 'cloudpickle' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pickle_has_its_number_on_the_wire() -> None:
    """It never changes."""
    assert payload.PICKLE == 1


@pytest.mark.parametrize(
    "data",
    ["__main__", b'if __name__ == "__main__": pass', {"__main__": [1, 2.0, None]}],
)
def test_encode_says_that_there_is_no_code_when_main_is_only_named_in_data(data: Any) -> None:
    """Text about a `__main__` travels between any two versions of Python."""
    packed = encode(data, "args")
    assert not packed.code
    assert decode(*packed, "args") == data


@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_encode_copies_nothing_when_bytes_are_large(kind: type, by_value: bool) -> None:
    """Large `bytes` and `bytearray` are sent from where they lie, however deep."""
    large = kind(OUT_OF_BAND * 5)
    obj = {"deep": [{"large": large}], "call": (lambda: 7) if by_value else None}
    packed = encode(obj, "args")
    assert packed.code is by_value
    address = np.frombuffer(large, np.uint8).ctypes.data
    pieces: Any = packed.head
    assert address in [np.frombuffer(piece, np.uint8).ctypes.data for piece in pieces]
    received = decode(*_over(packed), "args")["deep"][0]["large"]
    assert received == large
    assert type(received) is kind


def test_encode_tells_main_when_its_name_lies_behind_a_large_object() -> None:
    """A class of `__main__` goes by value wherever in the pickle it is named."""
    script = (
        "import sys; from bgpy.codec.payload import encode\n"
        "class Own:\n    def run(self): pass\n"
        "sys.stdout.write(str(encode([bytes(2**20), Own()], 'args')[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True"


def test_encode_uses_plain_pickle_when_only_large_data_holds_the_name_of_main() -> None:
    """What is in the user's data is no reference."""
    assert not encode({"text": b"__main__" * 100_000}, "args").code


def test_encode_keeps_no_object_alive_when_it_has_been_encoded() -> None:
    """The pickler that is used again forgets what it has seen, also after a failure."""
    held = []
    for inner in (None, _Failing()):
        obj = collections.Counter(a=1)
        held.append(weakref.ref(obj))
        with contextlib.suppress(EncodeError):
            encode({"obj": obj, "inner": inner}, "args")
        del obj
    gc.collect()
    assert [each() for each in held] == [None, None]


class _Failing:
    def __reduce__(self) -> Any:
        raise ValueError("no")


def test_encode_uses_no_pickler_again_that_has_seen_many_objects() -> None:
    """The memo of a pickler keeps its size, and is cleared as a whole each time."""
    encode({"many": [str(number) for number in range(20_000)]}, "args")
    idle: list[Any] = list(payload._idle)
    assert all(pickling[0].__self__.memo.copy() == {} for pickling in idle)
    before = len(payload._idle)
    encode({"text": "x" * payload.KEPT_PICKLER}, "args")
    assert len(payload._idle) <= before


class _ManyBuffers:
    """Arrays and `bytes` of many sizes, all large enough to travel beside the pickle."""

    SIZES = (3, 1, 2, 9, 4, 1, 8)

    def __init__(self) -> None:
        self.arrays = [np.full(OUT_OF_BAND * size, size, "u1") for size in self.SIZES]
        self.arrays[2].flags.writeable = False
        self.large = [bytes([size]) * (payload.MOST_OF_PICKLE + size) for size in self.SIZES]

    def check(self, received: Any) -> None:
        arrays, large = received
        assert all(map(np.array_equal, arrays, self.arrays))
        assert [each.flags.writeable for each in arrays] == [True, True, False, *[True] * 4]
        assert large == self.large


@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize("most", range(8))
def test_within_leaves_the_largest_buffers_beside_the_pickle(most: int, by_value: bool) -> None:
    """What is rebuilt is the same, whether its head is one or many parts, bytecode or none."""
    many = _ManyBuffers()
    obj: Any = many.arrays, many.large
    packed = encode((lambda: obj) if by_value else obj, "args")
    assert packed.code is by_value
    fewer = Packed(*payload.within(tuple(packed), most))
    largest = sorted(many.SIZES)[len(many.SIZES) - most :]
    assert sorted(each.nbytes // OUT_OF_BAND for each in fewer.buffers) == largest
    assert fewer.code is by_value
    received = decode(*_over(fewer), "args")
    many.check(received() if by_value else received)


def test_within_gives_the_payload_itself_when_it_has_few_buffers() -> None:
    """No second pickle where there is no need of one."""
    packed = tuple(encode([np.zeros(OUT_OF_BAND)], "args"))
    assert payload.within(packed, 1) is packed
    assert payload.within((b"head", (), False), 0) == (b"head", (), False)


def test_within_copies_no_buffer() -> None:
    """What is put inside is sent from the object's own memory, as what stays beside is."""
    arrays = [np.full(4 * OUT_OF_BAND, at, "u1") for at in range(3)]
    head, buffers, _ = payload.within(tuple(encode(arrays, "args")), 1)
    assert isinstance(head, tuple)
    shared = [each for each in (*head, *buffers) if len(each) >= OUT_OF_BAND]
    assert len(shared) == 3
    arrays[0][0] = arrays[1][0] = arrays[2][0] = 77
    assert [each[0] for each in shared] == [77] * 3


def test_within_keeps_the_python_version_when_there_is_bytecode() -> None:
    """Bytecode of another Python is refused before it is loaded, inside or beside."""
    arrays = [np.zeros(OUT_OF_BAND), np.zeros(OUT_OF_BAND)]
    head, buffers, code = payload.within(tuple(encode(lambda: arrays, "args")), 1)
    assert code
    other = b"\x03\x02" + joined(head)[2:]
    with pytest.raises(PythonMismatch, match=r"Python 3\.2"):
        decode(other, buffers, code, "args")


def test_decode_names_what_is_missing_when_the_pickle_lies_inside_another() -> None:
    """The reason is the inner one's."""
    obj = [pickle.PickleBuffer(bytearray(OUT_OF_BAND)), datetime.timedelta(1)]
    head, buffers, code = payload.within(tuple(encode(obj, "args")), 0)
    broken = joined(head).replace(b"timedelta", b"timedolta")
    with pytest.raises(DecodeError, match=r"args can't be rebuilt here: .*timedolta"):
        decode(broken, buffers, code, "args")


def _made_where_there_is_memory(number: int) -> Crowded:
    if reserve.give_back():
        reserve.keep()
        raise MemoryError
    return Crowded(number)


class Crowded:
    """Fits where nothing is kept in reserve."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_where_there_is_memory, (_made_where_there_is_memory(self.number).number,)


def test_object_that_finds_no_memory_is_pickled_and_rebuilt_in_what_was_kept_in_reserve() -> None:
    """A server that newcomers have filled still answers those whom it has."""
    try:
        assert reserve.keep()
        packed = encode(Crowded(5), "response")
        assert not packed.code, "cloudpickle wasn't asked, which needs memory of its own"
        assert reserve.keep()
        assert decode(*packed, "response").number == 5
        assert not reserve.give_back()
    finally:
        reserve.give_back()


class Vast:
    def __reduce__(self) -> tuple[Any, ...]:
        raise MemoryError


def test_object_that_never_finds_memory_is_an_error_that_says_so() -> None:
    """What was kept is given once, and no more."""
    assert reserve.keep()
    with pytest.raises(EncodeError, match="MemoryError"):
        encode(Vast(), "response")
    assert not reserve.give_back()
