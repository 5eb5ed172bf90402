"""State machines and checks over short strings: validation, check digits, small parsers.

Kinds drawn from the string and loop tests of Numba and Tuplex, Luhn and bracket exercises that every
UDF collection has, and parsers of log lines written as loops over characters. The bodies are our own.
"""

from udf_corpus import SMALL, case, lambda_case

VOWELS = "aeiou"
TRANSITIONS = {
    ("idle", "s"): "run",
    ("run", "p"): "pause",
    ("pause", "s"): "run",
    ("run", "x"): "idle",
    ("pause", "x"): "idle",
}
MORSE = {"a": ".-", "b": "-...", "c": "-.-.", "e": ".", "o": "---", "s": "..."}


@case(rows=["4539578763621486", "1234", "79927398713", ""])
def luhn(number: str) -> bool:
    total = 0
    double = False
    for i in range(len(number) - 1, -1, -1):
        ch = number[i]
        if ch < "0" or ch > "9":
            return False
        d = ord(ch) - 48
        if double:
            d *= 2
            if d > 9:
                d -= 9
        total += d
        double = not double
    return len(number) > 0 and total % 10 == 0


@case(rows=["0306406152", "080442957X", "123"])
def isbn10(s: str) -> bool:
    if len(s) != 10:
        return False
    total = 0
    for i, ch in enumerate(s):
        if ch == "X" and i == 9:
            value = 10
        elif ch.isdigit():
            value = int(ch)
        else:
            return False
        total += value * (10 - i)
    return total % 11 == 0


@case(rows=["4006381333931", "4006381333932", "1"])
def ean13(s: str) -> bool:
    if len(s) != 13 or not s.isdigit():
        return False
    total = 0
    for i in range(12):
        total += int(s[i]) * (3 if i % 2 else 1)
    return (10 - total % 10) % 10 == int(s[12])


@case(rows=["GB82WEST12345698765432", "DE89370400440532013000", "XX"])
def iban_remainder(s: str) -> int:
    s = s[4:] + s[:4]
    rest = 0
    for ch in s:
        if ch.isdigit():
            rest = (rest * 10 + int(ch)) % 97
        else:
            rest = (rest * 100 + ord(ch.upper()) - 55) % 97
    return rest


@case(rows=["(a[b]{c})", "(]", "((", ""])
def balanced(s: str) -> bool:
    stack = []
    for ch in s:
        if ch in "([{":
            stack.append(ch)
        elif ch in ")]}":
            if not stack:
                return False
            top = stack.pop()
            if "([{".index(top) != ")]}".index(ch):
                return False
    return not stack


@case(rows=["(())", "())(", "", "(()"])
def depth(s: str) -> int:
    level = best = 0
    for ch in s:
        if ch == "(":
            level += 1
            if level > best:
                best = level
        elif ch == ")":
            level -= 1
            if level < 0:
                return -1
    return best if level == 0 else -1


@case(rows=["spsx", "sss", "x", ""])
def machine(events: str) -> str:
    state = "idle"
    for e in events:
        state = TRANSITIONS.get((state, e), "error")
        if state == "error":
            break
    return state


@case(rows=["-12.5e3", "1.", ".5", "e5", "+7"])
def number_state(s: str) -> int:
    state = 0
    for ch in s:
        if state == 0:
            if ch in "+-":
                state = 1
            elif ch.isdigit():
                state = 2
            elif ch == ".":
                state = 3
            else:
                return -1
        elif state == 1:
            if ch.isdigit():
                state = 2
            elif ch == ".":
                state = 3
            else:
                return -1
        elif state == 2:
            if ch == ".":
                state = 3
            elif ch in "eE":
                state = 4
            elif not ch.isdigit():
                return -1
        elif state == 3:
            if ch in "eE":
                state = 4
            elif not ch.isdigit():
                return -1
        else:
            if not (ch.isdigit() or ch in "+-"):
                return -1
    return state


@case(rows=["aaabbc", "abc", "", "zzzz"])
def run_length(s: str) -> str:
    if not s:
        return ""
    out = ""
    last = s[0]
    count = 0
    for ch in s:
        if ch == last:
            count += 1
        else:
            out += last + (str(count) if count > 1 else "")
            last = ch
            count = 1
    return out + last + (str(count) if count > 1 else "")


@case(rows=["aaabbc", "abc", "", "zzzz"])
def longest_run(s: str) -> int:
    best = run = 0
    last = ""
    for ch in s:
        run = run + 1 if ch == last else 1
        last = ch
        best = max(best, run)
    return best


@case(rows=["Hello World", "rhythm", ""])
def count_vowels(s: str) -> int:
    n = 0
    for ch in s.lower():
        if ch in VOWELS:
            n += 1
    return n


@case(rows=["Hello World", "rhythm", ""])
def count_vowels_sum(s: str) -> int:
    return sum(1 for ch in s if ch.lower() in VOWELS)


@case(rows=["racecar", "Never odd or even", "abc"])
def palindrome(s: str) -> bool:
    i, j = 0, len(s) - 1
    while i < j:
        if not s[i].isalnum():
            i += 1
            continue
        if not s[j].isalnum():
            j -= 1
            continue
        if s[i].lower() != s[j].lower():
            return False
        i += 1
        j -= 1
    return True


@case(rows=["racecar", "abc", ""])
def palindrome_slice(s: str) -> bool:
    return s == s[::-1]


@case(rows=[("Hello, World", 3), ("xyz", 30), ("abc", -1)], odd={"k": SMALL})
def caesar(s: str, k: int) -> str:
    out = ""
    for ch in s:
        if "a" <= ch <= "z":
            out += chr((ord(ch) - 97 + k) % 26 + 97)
        elif "A" <= ch <= "Z":
            out += chr((ord(ch) - 65 + k) % 26 + 65)
        else:
            out += ch
    return out


@case(rows=["sos", "abc", "x"])
def morse(s: str) -> str:
    pieces = []
    for ch in s:
        pieces.append(MORSE.get(ch, "?"))
    return " ".join(pieces)


@case(rows=["someVariableName", "x", "HTTPServer"])
def snake_case(s: str) -> str:
    out = ""
    for i, ch in enumerate(s):
        if ch.isupper() and i > 0:
            out += "_"
        out += ch.lower()
    return out


@case(rows=["some_variable_name", "x", "_a__b"])
def camel_case(s: str) -> str:
    out = ""
    upper = False
    for ch in s:
        if ch == "_":
            upper = True
        elif upper:
            out += ch.upper()
            upper = False
        else:
            out += ch
    return out


@case(rows=["1010", "2", "", "11111111"])
def binary_value(s: str) -> int:
    value = 0
    for ch in s:
        if ch not in "01":
            return -1
        value = (value << 1) | (ch == "1")
    return value


@case(rows=[5, 0, 255, 1024])
def popcount(n: int) -> int:
    if n < 0:
        n = -n
    count = 0
    while n:
        n &= n - 1
        count += 1
    return count


@case(rows=["192.168.0.1", "256.1.1.1", "1.2.3", "10.0.0.255"])
def valid_ipv4(s: str) -> bool:
    parts = s.split(".")
    if len(parts) != 4:
        return False
    for p in parts:
        if not p.isdigit() or len(p) > 3 or int(p) > 255:
            return False
    return True


@case(rows=["192.168.0.1", "0.0.0.0", "10.0.0.255"])
def ipv4_to_int(s: str) -> int:
    value = 0
    for part in s.split("."):
        value = value * 256 + int(part)
    return value


@case(rows=[3232235521, 0, 167772415])
def int_to_ipv4(n: int) -> str:
    return f"{n >> 24 & 255}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


@case(rows=["3 4 +", "2 3 * 4 +", "5"])
def rpn(s: str) -> int:
    stack = []
    for token in s.split():
        if token in ("+", "*"):
            b, a = stack.pop(), stack.pop()
            stack.append(a + b if token == "+" else a * b)
        else:
            stack.append(int(token))
    return stack.pop()


@case(rows=["a=1;b=2", "b=7", "x"])
def value_of_b(s: str) -> str | None:
    for pair in s.split(";"):
        key, _, value = pair.partition("=")
        if key.strip() == "b":
            return value.strip()
    return None


@case(rows=['say "hi" now', "none", '"a" "b"'])
def first_quoted(s: str) -> str:
    start = s.find('"')
    if start == -1:
        return ""
    end = s.find('"', start + 1)
    if end == -1:
        return ""
    return s[start + 1 : end]


lambda_case("starts_upper", lambda s: s[:1].isupper(), [str], bool, ["Abc", "abc", ""])
lambda_case("code_of_first", lambda s: ord(s[0]) if s else 0, [str], int, ["A", ""])
