"""Small bodies that exercise the language: loops, branches, operators, scopes, numbers.

Kinds drawn from Numba's test suite (flow control, builtins: abs, divmod, min, max, ord, pow, round;
closures, tuples, optional results), Spark's transpiler tests (SPARK-55206: arithmetic, comparison and
boolean operators, None, truthiness), and HiPy's and Tuplex's tests of for and while. The bodies are
our own.
"""

import math
import operator
from functools import reduce

from udf_corpus import SMALL, case, lambda_case

LIMIT = 10
PRIMES = (2, 3, 5, 7, 11, 13)
SMALL_N = {"n": SMALL}


@case(rows=[5, 0, 10], odd=SMALL_N)
def sum_range(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


@case(rows=[(1, 10, 3), (10, 1, -2), (0, 0, 1)], odd={"a": SMALL, "b": SMALL, "step": SMALL})
def sum_steps(a: int, b: int, step: int) -> int:
    total = 0
    for i in range(a, b, step):
        total += i * i
    return total


@case(rows=[5, 0, 10], odd=SMALL_N)
def sum_of_generator(n: int) -> int:
    return sum(i * i for i in range(n) if i % 2)


@case(rows=[6, 27, 1], odd=SMALL_N)
def collatz(n: int) -> int:
    steps = 0
    while n > 1:
        n = 3 * n + 1 if n % 2 else n // 2
        steps += 1
    return steps


@case(rows=[10, 25, 100], odd=SMALL_N)
def is_prime(n: int) -> bool:
    if n < 2:
        return False
    d = 2
    while d * d <= n:
        if n % d == 0:
            return False
        d += 1
    return True


@case(rows=[10, 90, 1], odd=SMALL_N)
def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@case(rows=[5, 20, 12], odd=SMALL_N)
def factorial(n: int) -> int:
    result = 1
    for i in range(2, n + 1):
        result *= i
    return result


@case(rows=[5, 10], odd=SMALL_N, stays="recursion")
def factorial_recursive(n: int) -> int:
    return 1 if n <= 1 else n * factorial_recursive(n - 1)


@case(rows=[7, 49, 97], odd=SMALL_N)
def smallest_factor(n: int) -> int:
    for p in PRIMES:
        if n % p == 0:
            break
    else:
        return n
    return p


@case(rows=[12, 7], odd=SMALL_N)
def nested_loops(n: int) -> int:
    count = 0
    for a in range(1, n):
        for b in range(a, n):
            if a * a + b * b == n * n:
                count += 1
                continue
            if a + b > 2 * n:
                break
    return count


@case(rows=[0, 9, 1234, -57])
def digit_sum(n: int) -> int:
    n = abs(n)
    total = 0
    while n > 0:
        n, digit = divmod(n, 10)
        total += digit
    return total


@case(rows=[0, 120, 1234])
def reverse_digits(n: int) -> int:
    return int(str(abs(n))[::-1])


@case(rows=[(7, 2), (-7, 2), (7, -2), (0, 5)])
def floor_and_rest(a: int, b: int) -> int:
    return a // b * 1000 + a % b


@case(rows=[(7.5, 2.0), (-7.5, 2.0), (1e300, 3.0)])
def float_floor(a: float, b: float) -> float:
    return a // b + a % b


@case(rows=[(7, 2), (-7, 2)])
def true_division(a: int, b: int) -> float:
    return a / b


@case(rows=[(2, 10), (3, 0), (-2, 3)], odd={"a": SMALL, "b": [None, 0, 1, 2, 3, 5, 10, 62]})
def int_power(a: int, b: int) -> int:
    return a**b


@case(rows=[(12, 10), (-1, 255)])
def bits(a: int, b: int) -> int:
    return (a & b) | (a ^ 0x0F) & ~b


@case(rows=[(1, 4), (255, 8)], odd={"k": [None, 0, 1, 5, 31, 62, 63, -1]})
def shifts(a: int, k: int) -> int:
    return (a << k) + (a >> k)


@case(rows=[(1, 2), (0, 5), (7, 0)])
def logic_values(a: int, b: int) -> int:
    return (a and b) + (a or b)


@case(rows=[(1, 5, 10), (5, 5, 5)])
def chained(a: int, b: int, c: int) -> bool:
    return a < b <= c != 7


@case(rows=[0, 3, -2])
def truth(n: int) -> bool:
    return bool(n) and not n < 0


@case(rows=[(True, False), (True, True)])
def bool_sums(a: bool, b: bool) -> int:
    return a + b + (not a)


@case(rows=[(True, 3), (False, 3)])
def bool_times(flag: bool, n: int) -> int:
    return flag * n


@case(rows=[(3, 4.5), (10, 0.1)])
def mixed(a: int, b: float) -> float:
    return a * b + a - b


@case(rows=[(1, 2.5), (3, 2.0)])
def int_or_float(a: int, b: float) -> float:
    return a if a > b else b


@case(rows=[1.0, 0.0, -4.0])
def float_truth(x: float) -> str:
    return "yes" if x else "no"


@case(rows=[2.5, 3.5, -0.5, 1e15])
def round_even(x: float) -> int:
    return round(x)


@case(rows=[2.675, 1.005, -0.125])
def round_two(x: float) -> float:
    return round(x, 2)


@case(rows=[2.7, -2.7, 0.0])
def truncations(x: float) -> int:
    return int(x) * 100 + math.floor(x) * 10 + math.ceil(x)


@case(rows=[(3, 1, 2), (1, 1, 1)])
def spread(a: int, b: int, c: int) -> int:
    return max(a, b, c) - min(a, b, c)


@case(rows=[None, 3, 0])
def none_or_number(x: int | None) -> str:
    if x is None:
        return "none"
    if not x:
        return "zero"
    return "number"


@case(rows=[None, 1])
def none_equals(x: int | None) -> bool:
    return x == 0 or x == None


@case(rows=[(1, None), (None, None), (4, 5)])
def none_sum(a: int | None, b: int | None) -> int | None:
    if a is None and b is None:
        return None
    return (a or 0) + (b or 0)


@case(rows=[5, 20])
def unbound_sometimes(n: int) -> int:
    if n > 3:
        found = n
    return found


@case(rows=[5, 20])
def changing_type(n: int) -> str:
    value = n * 2
    value = str(value)
    return value + "!"


@case(rows=[5, 20, -1])
def swap_types(n: int) -> float:
    x = n
    if n > 10:
        x = n / 2
    return x


@case(rows=[3, 12])
def reads_global(n: int) -> bool:
    return n > LIMIT


def make_adder(k):
    """A function with a captured variable."""

    def adder(x):
        return x + k

    return adder


def make_counter():
    """A function that changes what it captured."""
    count = 0

    def counter(x):
        nonlocal count
        count += 1
        return x

    return counter


@case(rows=[1, 2], odd={"n": SMALL}, stays="global")
def writes_global(n: int) -> int:
    global _last
    _last = n
    return _last


@case(rows=[3, 5], odd={"n": SMALL})
def reduce_product(n: int) -> int:
    return reduce(operator.mul, range(1, n), 1)


@case(rows=[3, 5], odd={"n": SMALL})
def comprehension(n: int) -> int:
    squares = [i * i for i in range(n)]
    return squares[-1] if squares else 0


@case(rows=[5, 50])
def asserted(n: int) -> int:
    assert n < 10**6, "too large"
    return n + 1


@case(rows=[5, 50])
def raising(n: int) -> int:
    if n < 0:
        raise ValueError(f"negative: {n}")
    return n * 2


@case(rows=[5, 12], odd={"n": SMALL})
def walrus(n: int) -> int:
    if (half := n // 2) > 3:
        return half
    return -half


@case(rows=[5, 7], odd={"n": SMALL})
def inner_function(n: int) -> int:
    def square(v):
        return v * v

    return square(n) + square(n + 1)


@case(rows=["int", "1 + 1"], odd={"s": ["1", "2 * 3", None]}, stays="eval")
def evaluated(s: str) -> str:
    return str(eval(s))


@case(rows=[1, -1, 2])
def with_finally(n: int) -> int:
    try:
        return 10 // n
    finally:
        n = 0


@case(rows=[1, 3], odd={"n": SMALL}, stays="print")
def prints(n: int) -> int:
    print("seen", n, end="", file=open("/dev/null", "w"))
    return n


lambda_case("identity", lambda x: x, [int], int, [1, 2])
lambda_case("plus_one", lambda x: x + 1, [int], int, [1, 2])
lambda_case("negate", lambda x: -x, [int], int, [1, 2])
lambda_case("inverted", lambda b: not b, [bool], bool, [True])
lambda_case("both", lambda a, b: a and b, [bool, bool], bool, [(True, False)])
lambda_case("constant", lambda x: 42, [int], int, [1])
lambda_case("nothing", lambda x: None, [int], int, [1])
lambda_case("xor", lambda a, b: a ^ b, [bool, bool], bool, [(True, False)])
lambda_case("default_argument", lambda x, k=3: x * k, [int], int, [4, 5])
lambda_case("captured", make_adder(5), [int], int, [1, 2])
lambda_case("counts_calls", make_counter(), [int], int, [1, 2], stays="nonlocal")
lambda_case("sin_cos", lambda x: math.sin(x) * math.cos(x), [float], float, [0.5, 1.0])
lambda_case(
    "deep_math",
    lambda x: math.sqrt(abs(math.sin(x) * math.cos(x) + math.log1p(abs(x)))),
    [float],
    float,
    [0.5, 100.0],
)
