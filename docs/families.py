"""The page of the network families."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from docs.docstrings import Docstring, parse
from docs.published import CIFAR_IMAGE, IMAGENET, PUBLISHED, Published
from docs.sections import field_table
from tuner.errors import InputError
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.validation import json_schema_of
from tuner.experiment.yaml import write_document
from tuner.models import FAMILIES, Cost, Family, FamilyConfig, runtime_fields

Values = dict[str, Any]
Candidate = tuple[str, list[list[Any]]]

_INTRODUCTION = """# Network families

`model.family` names one; the other fields of `model:` are the family's own, and any of them may be
left open ([how](../experiment.md#open-values)). What is not written has its default.

A *runtime* value is an argument of the compiled program: trials that differ in nothing else share
one program. (A rate that is fixed at 0 leaves its layers out. One that is searched keeps them, also
in trials with 0.) A value of the *structure* shapes the network and makes a new program.

Parameters are trainable ones. Multiply-adds are those of convolutions and dense layers for one
image, forward.

How much faster a family trains in `mixed_bfloat16` on a CPU:
[experiment.md](../experiment.md#precision).
"""


def page() -> str:
    """Markdown of families.md."""
    lines = {name: parse(family.config.__doc__).first_line for name, family in FAMILIES.items()}
    contents = "\n".join(f"- [{name}](#{name}): {line}" for name, line in lines.items())
    texts = [_section(name, family) for name, family in FAMILIES.items()]
    return "\n".join([_INTRODUCTION, contents, "", *texts])


def _section(name: str, family: Family[Any]) -> str:
    about, network = parse(family.config.__doc__), parse(type(family).__doc__)
    runtime = runtime_fields(family.config)
    kind = lambda field: "runtime" if field in runtime else "structure"  # noqa: E731
    parts = [
        f"## {name}\n",
        *_prose(about, network),
        field_table(family.config, kind, leave_out=("family",)),
        "Sizes:\n",
        "| | images | classes | parameters | multiply-adds |\n|---|---|---:|---:|---:|",
        *_sizes(family),
        f"\n```yaml\n{example(name)}```\n",
    ]
    return "\n".join(parts)


def _prose(about: Docstring, network: Docstring) -> Iterator[str]:
    for doc in (about, network):
        if doc.text:
            yield doc.text + "\n"
    for doc in (about, network):
        if doc.source:
            yield f"Source: {doc.source}\n"


def _sizes(family: Family[Any]) -> Iterator[str]:
    cases = [*_default_case(family), *PUBLISHED.get(family.name, ())]
    for case in cases:
        cost = family.cost(family.config(**case.values), case.image_shape, case.num_classes)
        values = {
            name: case.values[name] for name in family.config.model_fields if name in case.values
        }
        yield _size_row(case._replace(values=values), cost)


def _default_case(family: Family[Any]) -> Iterator[Published]:
    """The defaults on small images, or on large ones where small ones are refused."""
    for image_shape, num_classes in ((CIFAR_IMAGE, 100), IMAGENET):
        case = Published("defaults", {}, image_shape, num_classes)
        if not _is_refused(partial(family.cost, family.config(), image_shape, num_classes)):
            yield case
            return


def _size_row(case: Published, cost: Cost) -> str:
    values = ", ".join(f"`{line}`" for line in write_document(case.values).splitlines())
    name = f"{case.name} ({values})" if case.values else case.name
    images = "×".join(map(str, case.image_shape))
    millions = f"{cost.macs / 1e6:,.1f} M"
    return f"| {name} | {images} | {case.num_classes} | {cost.parameters:,} | {millions} |"


# ---------------------------------------------------------------- an example with open values


def example(name: str) -> str:
    """A valid experiment that leaves a few fields of the family open.

    Of the integers the two with the widest ranges, of the named options and of the runtime values
    the first: each only if the rest of the family admits all of its options.
    """
    model: Values = {"family": name}
    for limit, candidates in _candidates(FAMILIES[name].config):
        opened = (found for field, options in candidates for found in _valid(model, field, options))
        for found in islice(opened, limit):
            model |= found
    order = FAMILIES[name].config.model_fields
    document = {"model": {field: model[field] for field in order if field in model}}
    return write_document(document)


def _candidates(config: type[FamilyConfig]) -> Iterator[tuple[int, list[Candidate]]]:
    """Fields worth opening with lists of options to try, and how many of them to open."""
    fields = json_schema_of(config)["properties"]
    integers = [name for name, schema in fields.items() if schema.get("type") == "integer"]
    integers.sort(key=lambda name: -fields[name].get("maximum", 2**63))
    named = [name for name, s in fields.items() if "enum" in s and s.get("type") != "integer"]
    yield 2, [(name, _integers(fields[name])) for name in integers]
    yield 1, [(name, [_named(fields[name])]) for name in named]
    yield 1, [(name, [[0, 0.2], [0.2, 0.5]]) for name in runtime_fields(config)]


def _integers(schema: Values) -> list[list[Any]]:
    """The default with each of the values that might go with it."""
    default = schema["default"]
    values = schema.get("enum", range(2 * default, 3 * default + 2))
    return [sorted([default, value]) for value in values if value != default]


def _named(schema: Values) -> list[Any]:
    """The default and another option, null not among them."""
    return [value for value in dict.fromkeys([schema["default"], *schema["enum"]]) if value][:2]


def _valid(model: Values, field: str, options: list[list[Any]]) -> Iterator[Values]:
    """The field opened with the first of the lists that is admitted beside `model`, if any."""
    for choice in options:
        opened = {field: {"choice": choice}}
        text = write_document({"model": {**model, **opened}})
        if not _is_refused(partial(_plan, text)):
            yield opened
            return


def _plan(text: str) -> None:
    """Read an experiment and count the cost of every configuration, on CIFAR-100's images.

    Raises:
        InputError: it is not valid.
    """
    for configuration in parse_experiment(text, "example.yaml").space:
        family = FAMILIES[configuration.model["family"]]
        family.cost(family.config(**configuration.model), CIFAR_IMAGE, 100)


def _is_refused(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except InputError:
        return True
    return False
