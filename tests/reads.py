"""Which fields of which classes the code behind a function reads: a walk over the source.

From a function outwards: whatever a reached body names is reached too, functions by their name in
their module, methods by theirs in every class that is reached. In reached bodies the types of
expressions are worked out from annotations, so that `config.data.seed` is a read of `seed` by the
type of `data`. Checks of values (`__post_init__`) read nothing, nor do copies of whole configs
(replace, part, vars, asdict): what only they touch has no effect.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Iterator as Iterators
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("r1jax", "experiments")
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True)
class Body:
    """A function, class or module-level assignment: its module, its name there, its source."""

    module: str
    name: str
    node: ast.AST = dataclasses.field(compare=False)


class Module:
    """The top-level names of a source file, and what its imports mean."""

    def __init__(self, name, text):
        self.name, self.bodies, self.imports = name, {}, {}
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.partition(".")[0]] = alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for node in tree.body:
            if isinstance(node, FUNCTION | ast.ClassDef):
                self.bodies[node.name] = Body(name, node.name, node)
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            for target in targets:
                if isinstance(target, ast.Name):
                    self.bodies[target.id] = Body(name, target.id, node)


@functools.cache
def modules():
    """Every module of the project by name."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path.read_text())
    return found


def resolve(module, dotted):
    """The body that `dotted` (a.b.c) means in `module`; None where it is no top-level name."""
    first, *rest = dotted.split(".")
    known = module.bodies.get(first)
    if known:
        return known
    whole = ".".join([module.imports.get(first, first), *rest])
    for _ in range(5):  # through the packages that hand a name on
        home, _, name = whole.rpartition(".")
        if home not in modules():
            return None
        if name in modules()[home].bodies:
            return modules()[home].bodies[name]
        if name not in modules()[home].imports:
            return None
        whole = modules()[home].imports[name]
    return None


def dotted(node):
    """a.b.c of a chain of attributes over a name, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := dotted(node.value)):
        return f"{inner}.{node.attr}"
    return None


class Leads(typing.NamedTuple):
    """What a body leads to: at once, or once an attribute of that name is asked for anywhere."""

    known: frozenset  # bodies
    named: tuple  # (name, body, whether it is called without being named) of methods and the like
    attributes: frozenset


@functools.cache
def leads(body):
    """The `Leads` of a body; of a class those of its own lines, its methods among `named`."""
    module, nodes, named = modules()[body.module], [body.node], []
    if isinstance(body.node, ast.ClassDef):
        nodes = [n for n in body.node.body if not isinstance(n, FUNCTION)]
        nodes += [*body.node.bases, *body.node.decorator_list]
        for method in body.node.body:
            if isinstance(method, FUNCTION) and method.name != "__post_init__":
                own = Body(body.module, f"{body.name}.{method.name}", method)
                named.append((method.name, own, method.name.startswith("__")))
    walked = [inner for outer in nodes for inner in ast.walk(outer)]
    chains = [node for node in walked if isinstance(node, ast.Attribute)]
    prefixes = {id(node.value) for node in chains}
    values = [node for node in walked if isinstance(node, ast.Name)]
    for node in values:
        if id(node) not in prefixes:  # a module as a value
            handed = modules().get(module.imports.get(node.id))
            named += [(name, own, False) for name, own in handed.bodies.items()] if handed else []
    known = {resolve(module, chain) for node in chains + values if (chain := dotted(node))}
    return Leads(frozenset(known - {None}), tuple(named), frozenset(n.attr for n in chains))


def reached(start):
    """The bodies that a function leads to, methods as bodies named Class.method."""
    todo, found = [start], {}
    called, waiting = set(), {}  # attribute names seen; methods of reached classes not yet called
    while todo:
        body = todo.pop()
        if body in found:
            continue
        found[body] = leads(body)
        for name, own, special in found[body].named:
            (todo if special or name in called else waiting.setdefault(name, [])).append(own)
        todo += found[body].known
        for name in found[body].attributes - called:
            called.add(name)
            todo += waiting.pop(name, [])
    return list(found)


@functools.cache
def real(module, name):
    """The object a body makes, None where it cannot be had."""
    found = importlib.import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part, None)
    if isinstance(found, functools.cached_property):
        found = found.func
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    return inspect.unwrap(found) if callable(found) else found


@functools.cache
def hints(thing):
    """Annotations of a function or class, evaluated; none where they cannot be."""
    try:
        return typing.get_type_hints(thing)
    except Exception:
        return {}


def plain(kind):
    """The class an annotation speaks of: X of X | None, of Iterator[X]; else None."""
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias):
        return None if kind is typing.Any or getattr(kind, "_is_protocol", False) else kind
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        kinds = [arg for arg in args if arg is not type(None)]
        return plain(kinds[0]) if kinds else None
    if origin in (Iterators, typing.Annotated):
        return plain(args[0])
    return None


class Types:
    """The types of the expressions in one body, as far as annotations tell them."""

    def __init__(self, body):
        self.module, self.names, self.reads = modules()[body.module], {}, set()
        self.own = {}  # attributes that a method gives to self
        self.tables = {}  # the strings in tables that names stand for
        thing = real(body.module, body.name)
        own = hints(thing) if inspect.isfunction(thing) or inspect.isclass(thing) else {}
        if inspect.isfunction(thing):
            self.names = {name: plain(kind) for name, kind in own.items() if name != "return"}
            if "." in body.name:
                self.names["self"] = real(body.module, body.name.partition(".")[0])
        for _ in range(2):
            for node in ast.walk(body.node):
                self.note(node)
        for node in ast.walk(body.node):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self.reads.add((self.of(node.value), node.attr, dotted(node) or f".{node.attr}"))
            elif isinstance(node, ast.Call) and dotted(node.func) == "getattr":
                self.reads |= {(self.of(node.args[0]), n, "") for n in self.named(node.args[1])}

    def named(self, node):
        """The strings that the second argument of getattr may be: its own, or those of its loop."""
        if isinstance(node, ast.Constant):
            return {node.value}
        return self.loops.get(node.id, set()) if isinstance(node, ast.Name) else set()

    @functools.cached_property
    def loops(self):
        """The strings that a name runs through in `for name in ("a", "b")`, filled by `note`."""
        return {}

    def note(self, node):
        """Takes up what a statement says about names."""
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            self.bind(node.targets[0], node.value)
        elif isinstance(node, ast.NamedExpr):
            self.bind(node.target, node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            self.bind(node.target, node.value)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self.bind(node.optional_vars, node.context_expr)
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
            self.loops.setdefault(node.target.id, set()).update(self.strings(node.iter))
        elif isinstance(node, ast.arg) and node.annotation is not None:
            known = resolve(self.module, dotted(node.annotation) or "")
            if known and isinstance(known.node, ast.ClassDef):
                self.names.setdefault(node.arg, real(known.module, known.name))

    def strings(self, node):
        """The strings in a sequence, or the keys of a table, written out here or named."""
        if isinstance(node, ast.Name):
            return self.tables.get(node.id, set())
        inside = node.keys if isinstance(node, ast.Dict) else ast.walk(node)
        return {n.value for n in inside if isinstance(n, ast.Constant) and type(n.value) is str}

    def bind(self, target, value):
        """Gives the names of a target the types of a value."""
        if isinstance(target, ast.Name) and isinstance(value, ast.Dict | ast.Tuple):
            self.tables[target.id] = self.strings(value)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for name, own in zip(target.elts, value.elts, strict=False):
                self.bind(name, own)
        elif isinstance(target, ast.Name) and (kind := self.of(value)):
            self.names.setdefault(target.id, kind)
        elif isinstance(target, ast.Attribute) and dotted(target.value) == "self":
            self.own.setdefault(target.attr, self.of(value))

    def of(self, node):
        """The class of an expression's value, or None."""
        if isinstance(node, ast.Name):
            if node.id in self.names:
                return self.names[node.id]
            known = resolve(self.module, node.id)
            value = real(known.module, known.name) if known else None
            return type(value) if dataclasses.is_dataclass(value) else None
        if isinstance(node, ast.Attribute):
            kind = self.of(node.value)
            if kind is None:
                return None
            method = inspect.getattr_static(kind, node.attr, None)
            if isinstance(method, property | functools.cached_property):
                return plain(hints(getattr(method, "fget", None) or method.func).get("return"))
            return plain(hints(kind).get(node.attr)) or attributes(kind).get(node.attr)
        if isinstance(node, ast.IfExp):
            return self.of(node.body) or self.of(node.orelse)
        return self.result(node) if isinstance(node, ast.Call) else None

    def result(self, node):
        """The class of what a call returns."""
        name = dotted(node.func)
        if name in ("replace", "dataclasses.replace"):
            return self.of(node.args[0])
        known = resolve(self.module, name or "")
        if name in ("part", "flags.part"):
            known = resolve(self.module, dotted(node.args[0]) or "")
        if known is None:
            kind = self.of(node.func.value) if isinstance(node.func, ast.Attribute) else None
            method = inspect.getattr_static(kind, node.func.attr, None) if kind else None
            return plain(hints(method).get("return")) if inspect.isfunction(method) else None
        thing = real(known.module, known.name)
        if inspect.isclass(thing):
            return thing
        return plain(hints(thing).get("return")) if inspect.isfunction(thing) else None


ATTRIBUTES = {}


def attributes(kind):
    """The types of what `__init__` gives to self."""
    if kind not in ATTRIBUTES:
        ATTRIBUTES[kind] = {}  # meanwhile, as `__init__` itself reads some of them
        home = modules().get(kind.__module__)
        body = home and home.bodies.get(kind.__name__)
        for node in body.node.body if body and isinstance(body.node, ast.ClassDef) else ():
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                own = Body(kind.__module__, f"{kind.__name__}.__init__", node)
                ATTRIBUTES[kind] = Types(own).own
    return ATTRIBUTES[kind]


def related(owner, kind):
    """Whether a value of class `owner`, or one composed from it, may be taken for a `kind`."""
    return issubclass(kind, owner) or any(issubclass(one, kind) for one in (owner, *below(owner)))


def below(kind):
    """All subclasses of a class."""
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


@functools.cache
def reads_of(module, name, body):
    """(class or None, field, chain as written) of all reads in a body."""
    return frozenset(Types(body).reads)


def reads(function):
    """All reads in what a function leads to."""
    start = resolve(modules()[function.__module__], function.__qualname__)
    return {read for b in reached(start) for read in reads_of(b.module, b.name, b)}


def fields(config, path=()):
    """(path, class that the value belongs to) of every flag of a nested config."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value, (*path, field.name))
        else:
            yield (*path, field.name), type(config)


def unread(flags, found):
    """Those of `flags`, as `fields` lists them, of which none of the reads `found` is; as --a.b.

    Where the type of an expression is unknown, two names as written (`checkpoint.keep`), or
    `config.name` for a flag without a dot, are as good.
    """
    typed, written = {}, set()
    for kind, name, chain in found:
        typed.setdefault(name, set()).add(kind)
        if kind is None:
            written.add(".".join(chain.split(".")[-2:]))
    lost = []
    for path, owner in flags:
        kinds = typed.get(path[-1], set()) - {None}
        if (
            not any(related(owner, kind) for kind in kinds)
            and ".".join(("config", *path)[-2:]) not in written
        ):
            lost.append("--" + ".".join(path).replace("_", "-"))
    return lost
