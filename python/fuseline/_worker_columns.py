"""Arrow columns in a worker process: buffers in shared memory, Python values, numpy, pyarrow.

A `Column` is one node of Arrow's columnar format over memory that somebody else owns. This module
needs nothing but the standard library until numpy or pyarrow is asked for, so that functions over
rows run where neither is installed. Types are the format strings of Arrow's C data interface: "g"
is float64, "u" is utf8, "+l" a list.
"""

import datetime
import decimal
import itertools
import struct
from array import array

ALIGNMENT = 64

# The formats of `struct` and `memoryview` for numbers; those with 4 and 8 bytes carry dates and
# times, too.
NUMBERS = {
    "c": "b",
    "C": "B",
    "s": "h",
    "S": "H",
    "i": "i",
    "I": "I",
    "l": "q",
    "L": "Q",
    "f": "f",
    "g": "d",
}
INT_RANGES = {
    code: (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    for code, bits, signed in [
        ("c", 8, True),
        ("C", 8, False),
        ("s", 16, True),
        ("S", 16, False),
        ("i", 32, True),
        ("I", 32, False),
        ("l", 64, True),
        ("L", 64, False),
    ]
}
PER_SECOND = {"s": 1, "m": 1_000, "u": 1_000_000, "n": 1_000_000_000}
DAY_OF_EPOCH = 719_163
MICROS_PER_DAY = 86_400_000_000
EPOCH = datetime.datetime(1970, 1, 1)


class Type:
    """An Arrow type: its format string, its children, and pyarrow's type where that is known."""

    __slots__ = ("format", "children", "arrow")

    def __init__(self, tree, arrow=None):
        self.format = tree["format"]
        self.arrow = arrow
        self.children = []
        for i, child in enumerate(tree["children"]):
            inner = None
            if arrow is not None:
                inner = arrow.field(i).type if self.format == "+s" else arrow.value_type
            self.children.append(Type(child, inner))

    def needs_arrow(self):
        """Whether only pyarrow turns its values into Python objects."""
        code = self.format
        known = code in NUMBERS or code in ("n", "b", "u", "U", "z", "Z", "+l", "+L")
        known = known or code.startswith(("td", "tt", "ts", "tD", "d:", "w:", "+w:"))
        return not known or any(child.needs_arrow() for child in self.children)

    def width(self):
        """Bytes of a value with a fixed width of whole bytes; 0 for all others."""
        code = self.format
        if code in NUMBERS:
            return struct.calcsize(NUMBERS[code])
        if code == "e":
            return 2
        if code in ("tdD", "tts", "ttm", "tiM"):
            return 4
        if code == "tin":
            return 16
        if code.startswith(("td", "tt", "ts", "tD", "ti")):
            return 8
        if code.startswith("d:"):
            parts = code[2:].split(",")
            return int(parts[2]) // 8 if len(parts) == 3 else 16
        if code.startswith("w:"):
            return int(code[2:])
        return 0


class Column:
    """Values of one type: their number, their nulls, and the buffers that hold them.

    `buffers` starts with the validity bitmap (None without nulls); each is an object with the
    buffer protocol. Bitmaps start at bit 0, offsets at 0.
    """

    __slots__ = ("type", "length", "nulls", "buffers", "children")

    def __init__(self, type_, length, nulls, buffers, children=()):
        self.type = type_
        self.length = length
        self.nulls = nulls
        self.buffers = buffers
        self.children = list(children)


def read_column(type_, nodes, memory):
    """Takes the next column from an iterator of nodes `[rows, nulls, [[offset, bytes], ...]]`."""
    length, nulls, places = next(nodes)
    buffers = [None if p is None else memory[p[0] : p[0] + p[1]] for p in places]
    children = [read_column(child, nodes, memory) for child in type_.children]
    return Column(type_, length, nulls, buffers, children)


def place_column(column, nodes, parts, end):
    """Lays a column out after `end`: appends nodes and `(offset, buffer)`s, gives the new end."""
    places = []
    for buffer in column.buffers:
        if buffer is None:
            places.append(None)
            continue
        size = memoryview(buffer).nbytes
        places.append([end, size])
        if size:
            parts.append((end, buffer))
        end = -(-(end + size) // ALIGNMENT) * ALIGNMENT
    nodes.append([column.length, column.nulls, places])
    for child in column.children:
        end = place_column(child, nodes, parts, end)
    return end


def bits_to_list(buffer, length):
    """The first bits of a bitmap as a list of bools."""
    number = int.from_bytes(memoryview(buffer)[: (length + 7) // 8], "little")
    # The sentinel keeps leading zeros; the last character is bit 0.
    text = bin(number | 1 << (length + 8))[: -length - 1 : -1] if length else ""
    return list(map("1".__eq__, text))


def list_to_bits(flags):
    """A bitmap of the truth values of a list."""
    text = "".join(["1" if flag else "0" for flag in reversed(flags)])
    size = (len(flags) + 7) // 8
    return int(text, 2).to_bytes(size, "little") if text else b""


def validity_of(values):
    """The bitmap and the number of nulls of a list with Nones."""
    nulls = values.count(None)
    if nulls == 0 and not any(v is None for v in values):
        return None, 0
    flags = [v is not None for v in values]
    return list_to_bits(flags), len(flags) - sum(flags)


# ---- Arrow to Python -----------------------------------------------------------------------------


def to_list(column):
    """The values of a column as Python objects, None for NULL."""
    values = _values(column)
    if column.nulls and column.type.format != "n":
        valid = bits_to_list(column.buffers[0], column.length)
        values = [v if ok else None for v, ok in zip(values, valid)]
    return values


def _values(column):
    """The values, anything where they are null."""
    code, length = column.type.format, column.length
    if code == "n":
        return [None] * length
    if code in NUMBERS:
        return memoryview(column.buffers[1]).cast("B").cast(NUMBERS[code])[:length].tolist()
    if code == "b":
        return bits_to_list(column.buffers[1], length)
    if code in ("u", "U"):
        return _texts(column)
    if code in ("z", "Z"):
        data = column.buffers[2]
        return [bytes(data[a:b]) for a, b in itertools.pairwise(_offsets(column))]
    if code.startswith("w:"):
        width, data = column.type.width(), column.buffers[1]
        return [bytes(data[i * width : (i + 1) * width]) for i in range(length)]
    if code.startswith("d:"):
        return _decimals(column)
    if code.startswith("t") and not code.startswith("ti"):
        return _times(column)
    if code in ("+l", "+L"):
        items = to_list(column.children[0])
        return [items[a:b] for a, b in itertools.pairwise(_offsets(column))]
    if code.startswith("+w:"):
        width, items = int(code[3:]), to_list(column.children[0])
        return [items[i * width : (i + 1) * width] for i in range(length)]
    return to_arrow(column, column.type.arrow).to_pylist()


def _offsets(column):
    """The offsets of texts, bytes or lists."""
    code = "q" if column.type.format in ("U", "Z", "+L") else "i"
    return memoryview(column.buffers[1]).cast("B").cast(code)[: column.length + 1].tolist()


def _texts(column):
    """Strings; ASCII is decoded as a whole, because there a byte is a character."""
    offsets = _offsets(column)
    data = bytes(column.buffers[2][: offsets[-1]])
    if data.isascii():
        text = data.decode("ascii")
        return [text[a:b] for a, b in itertools.pairwise(offsets)]
    return [data[a:b].decode("utf-8", "replace") for a, b in itertools.pairwise(offsets)]


def _decimals(column):
    """Decimals, exact whatever the context's precision is."""
    width = column.type.width()
    scale = int(column.type.format[2:].split(",")[1])
    data = column.buffers[1]
    values = []
    for i in range(column.length):
        number = int.from_bytes(data[i * width : (i + 1) * width], "little", signed=True)
        values.append(decimal.Decimal(f"{number}E{-scale}"))
    return values


def _times(column):
    """Dates, times of day, timestamps and durations; nanoseconds are rounded down."""
    code = column.type.format
    width = column.type.width()
    storage = "i" if width == 4 else "q"
    numbers = memoryview(column.buffers[1]).cast("B").cast(storage)[: column.length].tolist()
    nulls = column.buffers[0]
    if column.nulls and nulls is not None:
        # What lies under a null may be no date at all.
        valid = bits_to_list(nulls, column.length)
        numbers = [n if ok else 0 for n, ok in zip(numbers, valid)]
    if code == "tdD":
        return [datetime.date.fromordinal(n + DAY_OF_EPOCH) for n in numbers]
    if code == "tdm":
        return [datetime.date.fromordinal(n // 86_400_000 + DAY_OF_EPOCH) for n in numbers]
    per_second = PER_SECOND[code[2]]
    if per_second <= 1_000_000:
        factor = 1_000_000 // per_second
        micros = [n * factor for n in numbers]
    else:
        micros = [n // 1000 for n in numbers]
    delta = datetime.timedelta
    if code.startswith("tD"):
        return [delta(0, 0, n) for n in micros]
    if code.startswith("tt"):
        return [(EPOCH + delta(0, 0, n)).time() for n in micros]
    zone = code.partition(":")[2]
    if not zone:
        return [EPOCH + delta(0, 0, n) for n in micros]
    import fuseline_rows as rows

    start, place = EPOCH.replace(tzinfo=datetime.UTC), rows.zone(zone)
    return [(start + delta(0, 0, n)).astimezone(place) for n in micros]


# ---- Python to Arrow -----------------------------------------------------------------------------


class WrongValue(Exception):
    """A value that does not fit the type; the exception to be shown is the argument."""

    def __init__(self, row, error):
        super().__init__(row, error)
        self.row = row
        self.error = error


def from_list(type_, values, on_failure=None):
    """A column of Python values, None for NULL.

    A value that does not fit raises WrongValue with its row; with `on_failure`, that is called with
    the row and the exception instead, and the row becomes NULL.
    """
    fast = _from_good_list(type_, values)
    if fast is not None:
        return fast
    encode = encoder(type_)
    if encode is None:
        return _by_pyarrow(type_, values)
    stored = []
    for row, value in enumerate(values):
        if value is None:
            stored.append(None)
            continue
        try:
            stored.append(encode(value))
        except Exception as error:
            if is_missing(value):
                stored.append(None)
                continue
            if on_failure is None:
                raise WrongValue(row, error) from None
            on_failure(row, error)
            stored.append(None)
    return _from_stored(type_, stored)


def _from_good_list(type_, values):
    """The quick way for lists of exactly the right class; None for all others."""
    code = type_.format
    classes = set(map(type, values))
    nones = type(None) in classes
    classes.discard(type(None))
    if code == "g" and classes <= {float}:
        filled = [0.0 if v is None else v for v in values] if nones else values
        data = array("d", filled)
    elif code == "l" and classes <= {int}:
        filled = [0 if v is None else v for v in values] if nones else values
        try:
            data = array("q", filled)
        except OverflowError:
            return None
    elif code == "b" and classes <= {bool}:
        data = list_to_bits(values)
    else:
        return None
    validity, nulls = validity_of(values) if nones else (None, 0)
    return Column(type_, len(values), nulls, [validity, data])


def _from_stored(type_, stored):
    """A column of values that `encoder` made, None for NULL."""
    code, length = type_.format, len(stored)
    if code == "n":
        return Column(type_, length, length, [])
    validity, nulls = validity_of(stored)
    if code in NUMBERS or code in ("tdD", "tts", "ttm"):
        letter = NUMBERS.get(code, "i")
        data = array(letter, [0 if v is None else v for v in stored] if nulls else stored)
        return Column(type_, length, nulls, [validity, data])
    if code == "b":
        return Column(type_, length, nulls, [validity, list_to_bits(stored)])
    if code in ("u", "U", "z", "Z"):
        pieces = [b"" if v is None else v for v in stored]
        offsets = _offsets_of(pieces, code in ("U", "Z"))
        return Column(type_, length, nulls, [validity, offsets, b"".join(pieces)])
    if code.startswith(("w:", "d:")):
        empty = bytes(type_.width())
        data = b"".join([empty if v is None else v for v in stored])
        return Column(type_, length, nulls, [validity, data])
    if code.startswith("t"):
        data = array("q", [0 if v is None else v for v in stored])
        return Column(type_, length, nulls, [validity, data])
    if code in ("+l", "+L"):
        lists = [[] if v is None else v for v in stored]
        offsets = _offsets_of(lists, code == "+L")
        items = _from_stored(type_.children[0], list(itertools.chain.from_iterable(lists)))
        return Column(type_, length, nulls, [validity, offsets], [items])
    if code.startswith("+w:"):
        empty = [None] * int(code[3:])
        items = itertools.chain.from_iterable(empty if v is None else v for v in stored)
        items = _from_stored(type_.children[0], list(items))
        return Column(type_, length, nulls, [validity], [items])
    raise TypeError(f"Python values cannot be made Arrow values of format {code!r}")


def _by_pyarrow(type_, values):
    """The column that pyarrow makes of the values."""
    import pyarrow

    return from_arrow(type_, pyarrow.array(values, type=type_.arrow))


def _offsets_of(pieces, wide):
    """The offsets of consecutive pieces."""
    ends = itertools.accumulate(map(len, pieces), initial=0)
    if wide:
        return array("q", ends)
    try:
        return array("i", ends)
    except OverflowError:
        message = "the results of one batch are longer than 2 GiB; lower batch_rows"
        raise OverflowError(message) from None


def encoder(type_):
    """A function from a Python value that is not None to what `_from_stored` takes.

    It raises what the same value raises in-process: TypeError for another class, OverflowError for
    a number out of range. `None` where pyarrow has to convert.
    """
    import fuseline_rows as rows

    code = type_.format
    if code in INT_RANGES:
        return _int_encoder(code)
    if code in ("f", "g"):
        return lambda value: array("d", (value,))[0]
    if code == "b":
        return _encode_bool
    if code in ("u", "U"):
        return _encode_text
    if code in ("z", "Z"):
        return _encode_bytes
    if code.startswith("d:"):
        return _decimal_encoder(type_, rows)
    if code in ("tdD", "tdm"):
        factor = 1 if code == "tdD" else 86_400_000
        return lambda value: rows.days_of_date(value) * factor
    if code.startswith(("ts", "tt", "tD")):
        if code.startswith("tt"):
            micros = rows.micros_of_clock
        elif code.startswith("tD"):
            micros = rows.micros_of_span
        else:
            zoned = code.partition(":")[2]
            micros = rows.micros_of_instant_in if zoned else rows.micros_of_instant
        per_second = PER_SECOND[code[2]]
        return lambda value: _in_units(micros(value), per_second)
    if code in ("+l", "+L") or code.startswith("+w:"):
        return _list_encoder(type_, rows)
    return None


def class_name(value):
    """The class of a value as messages show it."""
    return type(value).__name__


def is_missing(value):
    """Whether the value stands for a missing one in pandas: NA or NaT."""
    return type(value).__name__ in ("NAType", "NaTType")


def _int_encoder(code):
    least, most = INT_RANGES[code]
    bits = most.bit_length() + (least < 0)
    name = f"{'i' if least < 0 else 'u'}{bits}"

    def encode(value):
        # The array takes what has __index__, and words its errors as the interpreter does.
        number = array("Q" if code == "L" else "q", (value,))[0]
        if not least <= number <= most:
            raise OverflowError(f"{number} does not fit {name}")
        return number

    return encode


def _encode_bool(value):
    # numpy's bool is no subclass.
    if isinstance(value, bool) or class_name(value) in ("bool", "bool_"):
        return bool(value)
    raise TypeError(f"expected a bool, got {class_name(value)}")


def _encode_text(value):
    if not isinstance(value, str):
        raise TypeError(f"expected a str, got {class_name(value)}")
    return value.encode("utf-8")


def _encode_bytes(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if not isinstance(value, str) and hasattr(type(value), "__getitem__"):
        try:
            return bytes(value)
        except (TypeError, ValueError):
            pass
    raise TypeError(f"expected bytes, got {class_name(value)}")


def _decimal_encoder(type_, rows):
    precision, scale = map(int, type_.format[2:].split(",")[:2])
    width = type_.width()

    def encode(value):
        number = rows.digits_of_decimal(value, scale)
        if abs(number) >= 10**precision:
            raise OverflowError(f"{value} does not fit DECIMAL({precision}, {scale})")
        return number.to_bytes(width, "little", signed=True)

    return encode


def _in_units(micros, per_second):
    """Microseconds in another unit; coarser ones round towards zero, as Arrow's casts do."""
    if per_second >= 1_000_000:
        number = micros * (per_second // 1_000_000)
    else:
        number = abs(micros) // (1_000_000 // per_second)
        number = -number if micros < 0 else number
    if not -(1 << 63) <= number < 1 << 63:
        raise OverflowError("int too big to convert")
    return number


def _list_encoder(type_, rows):
    encode = encoder(type_.children[0])
    if encode is None:
        return None
    width = int(type_.format[3:]) if type_.format.startswith("+w:") else None

    def encode_item(item):
        if item is None:
            return None
        try:
            return encode(item)
        except Exception:
            if is_missing(item):
                return None
            raise

    def encode_list(value):
        items = rows.items_of_list(value)
        if width is not None and len(items) != width:
            raise ValueError(f"expected {width} items, got {len(items)}")
        return [encode_item(item) for item in items]

    return encode_list


# ---- pyarrow and numpy ---------------------------------------------------------------------------


def to_arrow(column, arrow_type):
    """A pyarrow array over the column's buffers."""
    import pyarrow

    buffers = [None if b is None else pyarrow.py_buffer(b) for b in column.buffers]
    children = []
    for i, child in enumerate(column.children):
        field = arrow_type.field(i) if column.type.format == "+s" else arrow_type.value_field
        children.append(to_arrow(child, field.type))
    if column.type.format == "n":
        return pyarrow.nulls(column.length)
    return pyarrow.Array.from_buffers(
        arrow_type, column.length, buffers, column.nulls, children=children or None
    )


def from_arrow(type_, values):
    """The column of a pyarrow array of exactly this type."""
    import pyarrow

    if values.offset != 0 or _has_offset(values):
        values = pyarrow.concat_arrays([values, values.slice(0, 0)])
        if values.offset != 0 or _has_offset(values):
            # Concatenating one array may be the array: through a copy of the chosen rows.
            values = values.take(pyarrow.array(range(len(values)), pyarrow.int64()))
    return _from_plain_arrow(type_, values)


def _has_offset(values):
    """Whether the values or their children are a slice of others."""
    if values.offset != 0:
        return True
    import pyarrow

    kind = values.type
    if pyarrow.types.is_struct(kind):
        return any(_has_offset(values.field(i)) for i in range(kind.num_fields))
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return len(values) > 0 and (values.offsets[0].as_py() != 0 or _has_offset(values.values))
    if pyarrow.types.is_fixed_size_list(kind):
        return _has_offset(values.values)
    return False


def _from_plain_arrow(type_, values):
    code = type_.format
    if code == "n":
        return Column(type_, len(values), len(values), [])
    nulls = values.null_count
    own = values.buffers()[: _buffers_of(code)]
    validity = own[0] if nulls else None
    if code in ("+l", "+L") or code.startswith("+w:"):
        items = values.values
        if code.startswith("+w:"):
            items = items.slice(0, len(values) * int(code[3:]))
        children = [from_arrow(type_.children[0], items)]
    elif code == "+s":
        children = [from_arrow(c, values.field(i)) for i, c in enumerate(type_.children)]
    else:
        children = []
    length = len(values)
    buffers = [validity]
    for i, buffer in enumerate(own[1:], start=1):
        if buffer is None:
            # pyarrow leaves empty buffers out; offsets have one entry even without values.
            wide = 8 if code in ("U", "Z", "+L") else 4
            buffer = bytes(wide) if i == 1 and code in ("u", "U", "z", "Z", "+l", "+L") else b""
        buffers.append(_cut(code, i, buffer, length, type_))
    return Column(type_, length, nulls, buffers, children)


def _cut(code, i, buffer, length, type_):
    """The part of a buffer that is used: pyarrow pads them, and slices share them."""
    view = memoryview(buffer)
    if code == "b":
        return view[: (length + 7) // 8]
    if code in ("u", "U", "z", "Z", "+l", "+L"):
        if i == 1:
            return view[: (length + 1) * (8 if code in ("U", "Z", "+L") else 4)]
        return view
    width = type_.width()
    return view[: length * width] if width else view


def _buffers_of(code):
    """How many buffers a node has, the validity included."""
    if code in ("u", "U", "z", "Z"):
        return 3
    if code == "+s" or code.startswith("+w:"):
        return 1
    return 2
