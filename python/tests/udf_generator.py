"""Random functions as source text, and rows for them: typed, so that most run without an exception and
nearly all can be compiled, and with some of what raises, overflows and depends on the last bit.

A program is a tree of statements (a line, or a block with its header), so that a failing one can be
made smaller by leaving statements out. The same seed gives the same program.

Invariants: a local is assigned before every use; loops end (`for` over at most six items, `while` with
a counter of its own); integers and texts cannot explode, because an expression multiplies at most
once and what loops assign is cut to a size.
"""

import dataclasses
import linecache
import math
import random

INT_EDGES = [
    0,
    1,
    -1,
    2,
    3,
    7,
    -8,
    10,
    97,
    2**31,
    2**53 + 1,
    -(2**53) - 1,
    2**62,
    2**63 - 1,
    -(2**63),
]
FLOAT_EDGES = [
    *(
        0.0,
        -0.0,
        1.0,
        -1.5,
        0.1,
        2.5,
        100.0,
        1e16,
        9007199254740993.0,
        5e-324,
        1.7976931348623157e308,
    ),
    *(-9.223372036854775808e18, math.inf, -math.inf, math.nan, 0.285, 1e-5, 123456.789),
]
TEXT_EDGES = [
    "",
    " ",
    "a",
    "Ab c",
    "12",
    "-7",
    "1.5",
    "a,b,c",
    "ä",
    "日本",
    "😀x",
    "ß",
    "xyzzy",
    " pad ",
]
LETTERS = "abcXYZ019 ,.-éß日😀"
NAMES = {"int": "n", "float": "x", "bool": "b", "str": "s"}
TYPES = ("int", "float", "bool", "str")


@dataclasses.dataclass
class Block:
    """A statement that holds others."""

    header: str
    body: list


@dataclasses.dataclass
class Program:
    """A function: parameters as (name, type, whether it may be None), result type, statements."""

    params: list
    returns: str
    body: list

    @property
    def source(self):
        """The function as text."""
        declared = ", ".join(f"{n}: {t}{' | None' if o else ''}" for n, t, o in self.params)
        lines = [f"def f({declared}) -> {self.returns} | None:"]
        _write(self.body, 1, lines)
        return "\n".join(lines) + "\n"

    def function(self, number=0):
        """The function, made in a module whose lines can be read."""
        name = f"generated_{number}"
        source = "import math\n\n\n" + self.source
        file = f"<{name}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        scope = {"__name__": name}
        exec(compile(source, file, "exec"), scope)
        return scope["f"]

    def smaller(self):
        """The same program without one statement, for each of them."""
        for body in _without_one(self.body):
            yield dataclasses.replace(self, body=body)


def _write(body, depth, lines):
    indent = "    " * depth
    for statement in body:
        if isinstance(statement, Block):
            lines.append(indent + statement.header)
            _write(statement.body or ["pass"], depth + 1, lines)
        else:
            lines.append(indent + statement)


def _without_one(body):
    for at, statement in enumerate(body):
        yield body[:at] + body[at + 1 :]
        if isinstance(statement, Block):
            # What it holds, in its place; then with less in it.
            if statement.header.startswith("if "):
                yield body[:at] + statement.body + body[at + 1 :]
            for inner in _without_one(statement.body):
                yield [*body[:at], Block(statement.header, inner), *body[at + 1 :]]


class Maker:
    """Makes one program."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.locals = []
        self.loops = 0
        self.counters = 0
        self.may_multiply = True

    def program(self):
        """A function of one to three parameters."""
        params = []
        for at in range(self.rng.randint(1, 3)):
            kind = self.pick((5, "int"), (5, "float"), (2, "bool"), (5, "str"))
            params.append((f"{NAMES[kind]}{at}", kind, self.rng.random() < 0.15))
        self.optional = {n: t for n, t, o in params if o}
        self.locals = [(n, t) for n, t, o in params if not o]
        self.fixed = set()
        self.returns = self.pick((5, "int"), (5, "float"), (3, "bool"), (5, "str"))
        body = self.statements(self.rng.randint(1, 5), 2)
        body.append(f"return {self.expr(self.returns, 3)}")
        return Program(params, self.returns, body)

    def pick(self, *weighted):
        """One of (weight, value)."""
        weights, values = zip(*weighted)
        return self.rng.choices(values, weights)[0]

    # Statements

    def statements(self, count, depth):
        """A list of statements; what they assign is known to those behind, and no longer after."""
        body = []
        for _ in range(count):
            make = self.pick(
                (6, self.assign),
                (3, self.augmented),
                (1, self.swap),
                (4 if depth else 0, self.branch),
                (2 if depth and self.loops < 2 else 0, self.for_loop),
                (1 if depth and self.loops < 2 else 0, self.while_loop),
            )
            body += make(depth)
        return body

    def scoped(self, count, depth, more=()):
        """Statements of a block: its locals end with it."""
        kept = list(self.locals)
        self.locals += more
        body = self.statements(count, depth)
        self.locals = kept
        return body

    def sized(self, kind, expression):
        """An expression whose value cannot grow from turn to turn."""
        if self.loops == 0:
            return expression
        if kind == "str":
            return f"({expression})[:20]"
        if kind == "int":
            return f"({expression}) % {self.rng.choice((1000003, 2**40 + 15, 2**61 - 1))}"
        return expression

    def assign(self, depth):
        known = [v for v in self.locals if v[0] not in self.fixed]
        if known and self.rng.random() < 0.5:
            name, kind = self.rng.choice(known)
        else:
            kind = self.rng.choice(TYPES)
            name = f"v{len(self.locals)}_{kind[0]}"
        line = f"{name} = {self.sized(kind, self.expr(kind, 3))}"
        if (name, kind) not in self.locals:
            self.locals.append((name, kind))
        return [line]

    def augmented(self, depth):
        known = [v for v in self.locals if v[1] != "bool" and v[0] not in self.fixed]
        if not known:
            return self.assign(depth)
        name, kind = self.rng.choice(known)
        if kind == "str":
            lines = [f"{name} += {self.expr('str', 1)}"]
            return lines + ([f"{name} = {name}[:20]"] if self.loops else [])
        if kind == "float":
            return [f"{name} {self.rng.choice(('+=', '-=', '*=', '/='))} {self.expr('float', 2)}"]
        sign = self.rng.choice(("+=", "-=", "//=", "%=", "&=", "|=", "^=", ">>="))
        operand = self.rng.choice("1234") if sign == ">>=" else self.expr("int", 1)
        lines = [f"{name} {sign} {operand}"]
        return lines + ([f"{name} %= 1000003"] if self.loops else [])

    def swap(self, depth):
        for kind in self.rng.sample(TYPES, 4):
            known = [n for n, t in self.locals if t == kind and n not in self.fixed]
            if len(known) > 1:
                a, b = self.rng.sample(known, 2)
                return [f"{a}, {b} = {b}, {a}"]
        return self.assign(depth)

    def branch(self, depth):
        made = [Block(f"if {self.expr('bool', 2)}:", self.ending(depth))]
        if self.rng.random() < 0.3:
            made.append(Block(f"elif {self.expr('bool', 2)}:", self.ending(depth)))
        if self.rng.random() < 0.5:
            made.append(Block("else:", self.scoped(self.rng.randint(1, 2), depth - 1)))
        return made

    def ending(self, depth):
        """The body of a branch, which may leave the function or the loop."""
        body = self.scoped(self.rng.randint(1, 2), depth - 1)
        end = self.rng.random()
        if end < 0.25:
            body.append(f"return {self.expr(self.returns, 2)}")
        elif end < 0.29:
            body.append("return None")
        elif end < 0.32:
            body.append(f'raise ValueError("no " + {self.expr("str", 1)})')
        elif end < 0.45 and self.loops:
            body.append("break")
        return body

    def for_loop(self, depth):
        self.counters += 1
        name = f"i{self.counters}"
        kind, source = self.pick(
            (4, ("int", f"range({self.rng.randint(0, 6)})")),
            (2, ("int", f"range({self.expr('int', 1)} % 5)")),
            (1, ("int", f"range({self.rng.randint(3, 9)}, 0, -2)")),
            (2, ("str", f"{self.expr('str', 1)}[:5]")),
            (1, ("float", "(0.5, -1.0, 3.0)")),
            (1, ("str", '("a", "", "éx")')),
        )
        self.loops += 1
        self.fixed.add(name)
        body = self.scoped(self.rng.randint(1, 3), depth - 1, [(name, kind)])
        if self.rng.random() < 0.2:
            kept = [*self.locals]
            self.locals.append((name, kind))
            body.insert(0, Block(f"if {self.expr('bool', 1)}:", ["continue"]))
            self.locals = kept
        self.loops -= 1
        return [Block(f"for {name} in {source}:", body)]

    def while_loop(self, depth):
        self.counters += 1
        name = f"w{self.counters}"
        self.fixed.add(name)
        condition = self.expr("bool", 2)
        self.loops += 1
        body = self.scoped(self.rng.randint(1, 2), depth - 1, [(name, "int")])
        self.loops -= 1
        first = f"{name} += 1"
        bound = self.rng.randint(1, 6)
        return [f"{name} = 0", Block(f"while {name} < {bound} and ({condition}):", [first, *body])]

    # Expressions

    def expr(self, kind, depth):
        """An expression of a type."""
        outermost = self.may_multiply
        if depth <= 0 or self.rng.random() < 0.15:
            return self.leaf(kind)
        if self.rng.random() < 0.07:
            a, b = self.expr(kind, depth - 1), self.expr(kind, depth - 1)
            return f"({a} if {self.expr('bool', depth - 1)} else {b})"
        if self.rng.random() < 0.05:
            word = self.rng.choice(("and", "or"))
            return f"({self.expr(kind, depth - 1)} {word} {self.expr(kind, depth - 1)})"
        made = getattr(self, f"{kind}_expr")(depth - 1)
        self.may_multiply = outermost
        return made

    def leaf(self, kind):
        known = [n for n, t in self.locals if t == kind]
        optional = [n for n, t in self.optional.items() if t == kind]
        if optional and self.rng.random() < 0.3:
            name = self.rng.choice(optional)
            # Without the test it is a TypeError now and then.
            if self.rng.random() < 0.1:
                return name
            return f"({name} if {name} is not None else {self.literal(kind)})"
        if known and self.rng.random() < 0.75:
            return self.rng.choice(known)
        return self.literal(kind)

    def literal(self, kind):
        if kind == "int":
            number = self.pick((6, self.rng.randint(0, 12)), (1, self.rng.choice(INT_EDGES[:-1])))
            return str(number) if number >= 0 else f"({number})"
        if kind == "float":
            value = self.pick(
                (4, self.rng.randint(-40, 40) / 8), (1, self.rng.choice(FLOAT_EDGES[:12]))
            )
            return repr(value) if math.copysign(1, value) > 0 else f"({value!r})"
        if kind == "bool":
            return self.rng.choice(("True", "False"))
        return repr(self.rng.choice(TEXT_EDGES))

    def int_expr(self, depth):
        def sub(kind="int"):
            return self.expr(kind, depth)

        if self.may_multiply and self.rng.random() < 0.15 and not self.loops:
            self.may_multiply = False
            return self.pick(
                (4, f"({sub()} * {sub()})"), (1, f"{sub()} ** 2"), (1, f"({sub()} << 5)")
            )
        a, b = sub(), sub()
        s = sub("str")
        return self.pick(
            (5, f"({a} + {b})"),
            (5, f"({a} - {b})"),
            (1, f"({a} // {b})"),
            (1, f"({a} % {b})"),
            (2, f"({a} // ({b} or 5))"),
            (2, f"({a} % ({b} | 1))"),
            (3, f"({a} // {self.rng.choice((2, 3, -7, 10))})"),
            (3, f"({a} % {self.rng.choice((2, 3, -7, 10))})"),
            (2, f"({a} {self.rng.choice('&|^')} {b})"),
            (1, f"({a} >> {self.rng.randint(0, 9)})"),
            (1, f"(-{a})"),
            (1, f"(~{a})"),
            (2, f"abs({a})"),
            (2, f"{self.rng.choice(('min', 'max'))}({a}, {b})"),
            (3, f"len({s})"),
            (2, f"int({sub('float')})"),
            (1, f"round({sub('float')})"),
            (1, f"math.floor({sub('float')})"),
            (2, f"{s}.{self.rng.choice(('find', 'rfind', 'count'))}({self.leaf('str')})"),
            (1, f"int({sub('bool')})"),
            (1, f"({sub('bool')} + {sub('bool')})"),
            (1, f"ord(({s} + 'x')[0])"),
            (1, f"int({self.number_text()})"),
            (1, "{'a': 1, 'b': 2, '': 3}.get(" + s + ", 9)"),
        )

    def float_expr(self, depth):
        def sub(kind="float"):
            return self.expr(kind, depth)

        a, b = sub(), sub()
        i = sub("int")
        return self.pick(
            (5, f"({a} + {b})"),
            (5, f"({a} - {b})"),
            (5, f"({a} * {b})"),
            (3, f"({a} / {b})"),
            (2, f"({a} / {self.rng.choice(('2.0', '0.1', '-3'))})"),
            (1, f"({a} // {b})"),
            (1, f"({a} % {b})"),
            (2, f"({i} / {sub('int')})"),
            (2, f"float({i})"),
            (2, f"({a} + {i})"),
            (1, f"({i} * {a})"),
            (2, f"abs({a})"),
            (1, f"(-{a})"),
            (2, f"{self.rng.choice(('min', 'max'))}({a}, {b})"),
            (1, f"round({a}, {self.rng.choice((0, 1, 2, 3, -1))})"),
            (2, f"math.sqrt(abs({a}))"),
            (1, f"math.sqrt({a})" if self.rng.random() < 0.2 else f"math.sqrt({a} ** 2)"),
            (1, f"math.{self.rng.choice(('sin', 'cos', 'atan', 'tanh'))}({a})"),
            (1, f"math.exp(min({a}, 5.0))"),
            (1, f"math.log({a})" if self.rng.random() < 0.2 else f"math.log(abs({a}) + 0.5)"),
            (1, f"({a} ** 2)"),
            (1, f"float({self.number_text()})"),
            (1, f"float({sub('bool')})"),
        )

    def bool_expr(self, depth):
        def sub(kind):
            return self.expr(kind, depth)

        sign = self.rng.choice(("<", "<=", ">", ">=", "==", "!="))
        optional = list(self.optional)
        if optional and self.rng.random() < 0.25:
            name = self.rng.choice(optional)
            return self.pick(
                (3, f"({name} is None)"),
                (2, f"({name} is not None)"),
                (1, f"({name} == {self.literal(self.optional[name])})"),
                (1, f"(not {name})"),
                (1, f"bool({name})"),
            )
        kind = self.rng.choice(TYPES)
        return self.pick(
            (5, f"({sub('int')} {sign} {sub('int')})"),
            (4, f"({sub('float')} {sign} {sub('float')})"),
            (2, f"({sub('int')} {sign} {sub('float')})"),
            (2, f"({sub('str')} {sign} {sub('str')})"),
            (1, f"({self.leaf('int')} < {sub('int')} <= {self.leaf('int')})"),
            (1, f"({self.leaf('float')} <= {sub('float')} < {self.leaf('float')})"),
            (2, f"(not {sub(kind)})"),
            (1, f"bool({sub(kind)})"),
            (2, f"({sub('bool')} and {sub('bool')})"),
            (2, f"({sub('bool')} or {sub('bool')})"),
            (1, f"({sub('str')} in {sub('str')})"),
            (1, f"{sub('str')}.{self.rng.choice(('startswith', 'endswith'))}({self.leaf('str')})"),
            (1, f"{sub('str')}.{self.rng.choice(('isdigit', 'isalpha', 'isalnum', 'isspace'))}()"),
            (1, f"({sub('int')} in (1, 2, 3, 97))"),
            (1, f"({sub('str')} not in {{'a', '12', 'ß'}})"),
            (1, f"math.{self.rng.choice(('isnan', 'isinf'))}({sub('float')})"),
        )

    def str_expr(self, depth):
        def sub(kind="str"):
            return self.expr(kind, depth)

        s = sub()
        i, j = self.rng.randint(-3, 4), self.rng.randint(-2, 5)
        return self.pick(
            (4, f"({s} + {sub()})"),
            (2, f"{s}[{i}:{j}]"),
            (2, f"{s}[{i}:]"),
            (1, f"{s}[:{sub('int')}]"),
            (1, f"{s}[{i}]" if self.rng.random() < 0.3 else f"({s} + 'äpqrs')[{i}]"),
            (1, f"({s} + 'q')[0]"),
            (1, f"{s}[::-1]"),
            (2, f"{s}.{self.rng.choice(('strip', 'lstrip', 'rstrip'))}()"),
            (2, f"{s}.{self.rng.choice(('lower', 'upper'))}()"),
            (2, f"{s}.replace({self.rng.choice(('a', ' ', ',', 'é'))!r}, {self.leaf('str')})"),
            (2, f"str({sub('int')})"),
            (1, f"str({sub('float')})"),
            (1, f"str({sub('bool')})"),
            (1, f'f"<{{{self.name_of("int")}}}|{{{self.name_of("str")}}}>"'),
            (1, f'f"{{{self.name_of("float")}:.2f}}"'),
            (1, f"('%d:%s' % ({sub('int')}, {s}))"),
            (1, f"({s} * {self.rng.randint(0, 3)})[:30]"),
            (1, f"{s}.zfill({self.rng.randint(0, 6)})"),
            (1, f"{s}.partition(',')[{self.rng.randint(0, 2)}]"),
            (1, f"{s}.split(',')[{self.rng.choice((0, 0, 0, -1, -1, 1))}]"),
            (1, f"chr(65 + {sub('int')} % 26)"),
        )

    def number_text(self):
        """A text that is a number more often than not."""
        number = self.rng.choice(("'12'", "' -7 '", "'1_000'", "'0'", f"str({self.leaf('int')})"))
        return self.leaf("str") if self.rng.random() < 0.2 else number

    def name_of(self, kind):
        """A local of the type, or a number in parentheses: what may stand in an f-string."""
        known = [n for n, t in self.locals if t == kind]
        return self.rng.choice(known) if known else {"int": "7", "float": "2.5", "str": "1"}[kind]

    # Rows

    def rows(self, params, count):
        """Rows for the parameters: edges and what lies between."""
        return [tuple(self.value(t, o) for _, t, o in params) for _ in range(count)]

    def value(self, kind, optional):
        rng = self.rng
        if optional and rng.random() < 0.25:
            return None
        if kind == "bool":
            return rng.random() < 0.5
        if kind == "int":
            return self.pick(
                (3, rng.choice(INT_EDGES)),
                (5, rng.randint(-20, 20)),
                (1, rng.randint(-(2**63), 2**63 - 1)),
            )
        if kind == "float":
            return self.pick(
                (3, rng.choice(FLOAT_EDGES)),
                (4, rng.randint(-80, 80) / 8),
                (3, rng.uniform(-1e3, 1e3)),
                (1, rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300)),
            )
        length = rng.randint(0, 9)
        return self.pick((4, rng.choice(TEXT_EDGES)), (5, "".join(rng.choices(LETTERS, k=length))))


def make(seed, rows):
    """A program and rows for it."""
    maker = Maker(seed)
    program = maker.program()
    return program, maker.rows(program.params, rows)
