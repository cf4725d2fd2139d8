"""Hostile and clumsy inputs, each made from a number: experiments, overrides and names."""

from __future__ import annotations

import json
import random
from pathlib import Path

ROOT = Path(__file__).parents[2]

TOKENS = [
    "&a ", "*a", "!!python/object:os.system ", "!!binary ", "!x ", "<<: ", "---\n", "...\n", "%YAML 1.1\n",
    "[", "]", "{", "}", ": ", ", ", "- ", "? ", "|", ">", "'", '"', "#", "\n", "\r", "\t", "  ", "\0", "\x1b[31m",
    "\x85", "\u2028", "\ufeff", "\ufffe", "\U0010ffff", "\u202e", "null", "~", "true", ".nan", ".inf", "1e999",
    "9" * 400, "-0", "0x", "0o8", "1e-400", "9223372036854775807", "-9223372036854775808", "1_000", "yes", "2024-01-01",
    "{choice: []}", "{choice: [1, 1]}", "{choice: [{choice: [1]}]}", "{choice: [null, a, 1.5, [1], {a: 1}]}",
    "{choice: {a: 1}}", "{min: 1, max: 1e18, count: 1000000000}", "{min: 0, max: 1}", "{min: 1, max: 0}",
    "{min: 1, max: 9223372036854775807}", "{min: 0, max: 1, step: 1e-9}", "{min: 1e-320, max: 1e308, scale: log, count: 9}",
    "{min: 0, max: 0.9999999999999999, scale: reverse_log, count: 7}", "{min: a, max: [1]}", "{choice: [1], min: 2}",
    "../../etc/passwd", "/dev/zero", "x.npz", "os:system", "a" * 300, "model: ", "training: ", "search: ", "data: ",
    "family: ", "depth: ", "epochs: ", "batch_size: ", "l2: ", "optimizer: ", "schedule: ", "constraints: ",
]  # fmt: skip

EXPRESSIONS = [
    "9**9**9**9 > 1", "depth.__class__ == 1", "().__class__.__bases__", "__import__('os').system('id') == 0",
    "'a' * 1000000000 == 'a'", "'%1000000000d' % depth == 'a'", "family * 1000000 == 'a'", "[0] * 9 == 1", "depth[0] > 1",
    "lambda: 1", "(x := 1) > 0", "f'{depth}' == '1'", "[x for x in depth]", "depth in depth", "depth << 99999 > 1",
    "depth < " + "9" * 900, "(" * 300 + "1" + ")" * 300 + " > 0", "-" * 900 + "1 > 0", "not " * 200 + "depth > 1",
    "depth < " * 100 + "1", "1 if depth else 2", "depth / 0 > 1", "depth % 0 == 1", "(-1) ** 0.5 > 1", "epochs * depth > 1",
    "depth in [1, [2]]", "depth == None", "true", "", " ", "depth", "depth >", "model.depth.real > 1", "await depth",
    "depth ** depth ** depth ** depth > 1", "epochs > 1 and batch_size > 1 and l2 > 0", "depth = 3", "1 < 'a'", "\\",
]  # fmt: skip

MODEL = "model: {family: resnet}\n"


def shipped() -> list[bytes]:
    """Every experiment and template that people start from."""
    folders = (ROOT / "experiments", ROOT / "tuner" / "cli" / "templates")
    return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.yaml"))]


def experiment(number: int, seeds: list[bytes]) -> bytes:
    """Input `number`: one of two is a mutated experiment, the other was made to hurt."""
    rng = random.Random(number)
    if number % 2:
        return _mutated(rng, rng.choice(seeds))
    return rng.choice(MAKERS)(rng).encode("utf-8", "surrogatepass")


def override(number: int) -> str:
    """A value of -S."""
    rng = random.Random(number)
    names = ("training.epochs", "model.depth", "name", "a.b[0]", "search.constraints", "", "model")
    text = f"{rng.choice(names)}={rng.choice(TOKENS)}{rng.choice(['', rng.choice(TOKENS)])}"
    return text[: rng.randint(0, len(text))] if rng.random() < 0.2 else text


def name(number: int) -> str:
    """A name that would like to be somewhere else."""
    rng = random.Random(number)
    parts = [
        "..", ".", "/", "\\", "\0", "\n", " ", "-", "~", "$HOME", "%2e%2e", "CON", "NUL", "a", "é", "e\u0301", "\u2215",
        "\uff0e", "\u202e", "\ud800", "\x7f", "ledger.sqlite", "link", "*", "x" * 300, "checkpoints", ":", "|", "'",
    ]  # fmt: skip
    return "".join(rng.choice(parts) for _ in range(rng.randint(0, 6)))


def _mutated(rng: random.Random, text: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        text = rng.choice((_bytes, _token, _lines, _value))(rng, text)
    return text


def _bytes(rng: random.Random, text: bytes) -> bytes:
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice((0, 1, 1, 4, 60)))
    new = rng.randbytes(rng.choice((0, 1, 1, 2, 9)))
    return text[:start] + new + text[end:]


def _token(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text) + 1)
    token = rng.choice(TOKENS) * rng.choice((1, 1, 1, 3, 60))
    return text[:at] + token.encode() + text[at:]


def _lines(rng: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True) or [b""]
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one] = b" " * rng.randrange(9) + lines[one]
        case _:
            del lines[one]
    return b"".join(lines)


def _value(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    index = rng.randrange(len(lines))
    key, colon, _ = lines[index].partition(b":")
    if colon and not key.lstrip().startswith(b"#"):
        lines[index] = key + b": " + rng.choice(TOKENS).encode()
    return b"\n".join(lines)


def _size(rng: random.Random) -> int:
    return int(10 ** rng.uniform(0, 6))


def _repeated(rng: random.Random) -> str:
    unit = rng.choice(
        [*TOKENS, "a", "a: ", "a,", "a\n", "- a\n", "? a\n", "{a: ", "[[", "a:\n ", "\\n"]
    )
    prefix = rng.choice(
        ["", MODEL, "a: ", 'a: "', "a: '", "a: [", "model: {", "a: |\n  ", MODEL + "description: "]
    )
    return prefix + unit * (_size(rng) // len(unit) + 1)


def _many_names(rng: random.Random) -> str:
    value = rng.choice(["1", "{choice: [1, 2]}", "{min: 0, max: 1, count: 9}", "[1]"])
    names = ", ".join(f"a{i}: {value}" for i in range(_size(rng) // 8))
    return (
        rng.choice(
            ["{%s}", "model: {family: plain, %s}", MODEL + "training: {%s}", MODEL + "data: {%s}"]
        )
        % names
    )


def _many_options(rng: random.Random) -> str:
    option = rng.choice(
        ["%d", "0.%d", "a%d", "1", "{family: plain, depth: %d}", "[%d]", "{a: {choice: [%d, 1]}}"]
    )
    options = ", ".join(option % i if "%" in option else option for i in range(_size(rng) // 8))
    name = rng.choice(["l2", "epochs", "optimizer", "batch_size", "schedule"])
    where = ["model: {choice: [%s]}", "model: {family: resnet, depth: {choice: [%s]}}",
             f"{MODEL}training: {{{name}: {{choice: [%s]}}}}"]  # fmt: skip
    return rng.choice(where) % options


def _nested_choices(rng: random.Random) -> str:
    width, depth = rng.randint(1, 4), rng.randint(1, 24)
    node = "{family: resnet, depth: {choice: [8, 14, 20]}}"
    for _ in range(depth):
        node = "{choice: [" + ", ".join([node] * (width if len(node) < 20_000 else 1)) + "]}"
    return f"model: {node}"


def _many_branches(rng: random.Random) -> str:
    option = "{b: {choice: [1, 2]}}"
    axes = ", ".join(f"a{i}: {{choice: [{option}, {option}]}}" for i in range(rng.randint(1, 150)))
    return f"model: {{family: {rng.choice(['plain', 'resnet', '[1]'])}, {axes}}}"


def _ranges(rng: random.Random) -> str:
    ends = [
        "0",
        "1",
        "-1",
        "1e-320",
        "1e308",
        "-1e308",
        "9223372036854775807",
        "20",
        "0.5",
        "1e-9",
        "null",
        "a",
    ]
    fields = [
        "l2",
        "epochs",
        "batch_size",
        "learning_rate",
        "beta_1",
        "beta_2",
        "warmup_epochs",
        "label_smoothing",
    ]
    lines = []
    for name in rng.sample(fields, rng.randint(1, 8)):
        extra = rng.choice(["", ", scale: log", ", scale: reverse_log", ", count: 10000", ", count: 1000000000",
                            ", step: 1e-4", ", step: 1", ", scale: log, count: 10000"])  # fmt: skip
        lines.append(f"  {name}: {{min: {rng.choice(ends)}, max: {rng.choice(ends)}{extra}}}\n")
    search = rng.choice(["", "search: {method: random, max_trials: 3}\n", _constraints(rng)])
    return MODEL + "training:\n" + "".join(lines) + search


def _constraints(rng: random.Random) -> str:
    count = rng.choice((1, 1, 2, 5, 100, 1000))
    texts = [rng.choice(EXPRESSIONS) for _ in range(min(count, 5))] * (count // min(count, 5))
    return f"search: {{constraints: {json.dumps(texts)}}}\n"


def _constrained(rng: random.Random) -> str:
    model = "model: {family: resnet, depth: {choice: [8, 14, 20, 21]}}\n"
    return (
        model
        + "training: {epochs: {min: 1, max: 900}, batch_size: {min: 1, max: 900}}\n"
        + _constraints(rng)
    )


def _encoded(rng: random.Random) -> str:
    text = rng.choice(
        [MODEL, "\ufeff" + MODEL, "\ufeff\ufeff" + MODEL, MODEL + "description: '\ud800'"]
    )
    return text + rng.choice(TOKENS)


MAKERS = [
    _repeated, _repeated, _many_names, _many_options, _nested_choices, _many_branches, _ranges, _ranges,
    _constrained, _constrained, _encoded,
]  # fmt: skip
