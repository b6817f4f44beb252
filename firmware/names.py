"""Names that cost a board nothing, in the place of names that only the agent's own code uses.

MicroPython keeps every name that code mentions in a table of strings for ever, also when the module has left the memory: the
name, and 7 bytes more in tables that double. But some hundred names are in every firmware, because the form of .mpy files counts
on them. So each name that the agent defines, and that nothing outside can look for, becomes one of those; two names may become
the same if no module mentions both. Parameters of functions, which are called by position, become so besides. What a keyword, a
string, the standard library or a program outside of the agent mentions stays as it is.

The code does the same afterwards. Only a traceback calls things otherwise: names.json beside the code tells what each name was.
"""

import ast
import builtins
import importlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping

WORD = re.compile(r"\w+")
# Of the names in every firmware, those that mean nothing to the compiler and that nothing built in looks for in an object.
FREE = WORD.findall("""
    abs all any append bool builtins bytearray bytecode bytes callable chr classmethod clear copy count dict dir divmod end endswith
    eval exec extend find format from_bytes get getattr globals hasattr hash id index insert int isalpha isdigit isinstance islower
    isspace issubclass isupper items iter join key keys len list little locals lower lstrip map open ord pop popitem pow range remove
    repr replace reverse rfind rindex round rsplit rstrip sep set setattr setdefault sort sorted split start startswith staticmethod
    step stop str strip sum to_bytes tuple update upper values zip
""")
STANDARD = WORD.findall("""
    array asyncio binascii collections errno gc hashlib io json math os random select socket ssl struct sys time types
""")
# What only MicroPython's modules have, and its classes of hardware.
HARDWARE = set(
    WORD.findall("""
        ADC I2C PWM Pin RTC SPI Timer UART WDT WLAN active any config connect const country cpu crypt deinit disconnect encrypt
        decrypt feed freq hostname idle ifconfig init inv ioctl ipconfig ipoll irq isconnected kbd_intr lightsleep mem_alloc mem_free
        mount mode modify network off on out_buf ph_key pm poll print_exception qstr_info readblocks register reset reset_cause rxbuf
        scan schedule send sleep_ms status threshold ticks_add ticks_diff ticks_ms ticks_us toggle trigger txdone umount unique_id
        unregister value writeblocks
    """)
)
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that `node` itself mentions, without its children's."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.alias(name=name, asname=asname):
            yield from name.split(".")
            if asname:
                yield asname


def _definitions(tree: ast.Module) -> Iterator[str]:
    """Yield the names of what a module defines: functions, classes, their attributes and its own."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Attribute(attr=name, value=ast.Name(id="self"), ctx=ast.Store()):
                yield name
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign):
                    yield from (
                        name.id
                        for target in statement.targets
                        for name in ast.walk(target)
                        if isinstance(name, ast.Name)
                    )


def _standard() -> set[str]:
    """Return what the standard library's modules and classes define, as far as CPython tells."""
    modules = [builtins, *(importlib.import_module(name) for name in STANDARD)]
    found = {name for module in modules for name in dir(module)}
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    found |= {name for one in classes for name in dir(one)} | HARDWARE
    return {name for name in found if not name.startswith("_") or name.endswith("_")}


def _fixed(nodes: Mapping[str, list[ast.AST]]) -> set[str]:
    """Return the names that must stay: of keywords, modules, imports from elsewhere, in strings, and of exceptions, for these are
    among a board's last words."""
    fixed = {part for name in nodes for part in WORD.findall(name)}
    every = [node for found in nodes.values() for node in found]
    outside = {alias.asname or alias.name for node in every if isinstance(node, ast.Import) for alias in node.names}
    for node in every:
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id=module)) if module in outside:
                fixed.add(name)
            case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                fixed.add(name)
            case ast.ClassDef(name=name, bases=[ast.Name(id="Exception")]):
                fixed.add(name)
            case ast.Import(names=aliases):
                fixed.update(name for alias in aliases for name in _names(alias))
            case ast.ImportFrom(names=aliases, module=str(module)) if module.split(".")[0] not in ("agent", "host_sim"):
                fixed.update(name for alias in aliases for name in _names(alias))
    return fixed


def _related(nodes: Mapping[str, list[ast.AST]]) -> dict[str, set[str]]:
    """Return for each module those whose classes have instances in common with its own: it and they inherit from one another."""
    classes = {
        module: {node.name: node for node in found if isinstance(node, ast.ClassDef)} for module, found in nodes.items()
    }
    related = {module: {module} for module in nodes}
    for module, own in classes.items():
        bases = {name for one in own.values() for base in one.bases for node in ast.walk(base) for name in _names(node)}
        for other in [other for other, found in classes.items() if bases & found.keys()]:
            together = related[module] | related[other]
            for each in together:
                related[each] = together
    return related


class _Rename(ast.NodeVisitor):
    """Gives every name in `new` its new name."""

    def __init__(self, new: Mapping[str, str]) -> None:
        self._new = new

    def generic_visit(self, node: ast.AST) -> None:
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str) and not isinstance(node, ast.keyword):
                setattr(node, field, self._new.get(name, name))
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self._new.get(name, name) for name in node.names]
        super().generic_visit(node)


class _RenameLocal(_Rename):
    """The same for local variables: an attribute of the same name is another thing."""

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            self.visit(node.value)
        else:
            super().generic_visit(node)


def _rename_parameters(tree: ast.Module, keywords: set[str]) -> None:
    """Rename the parameters of all functions, outer ones first, but for those named in `keywords`."""
    for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
        inside = [node for node in ast.walk(function) if not isinstance(node, ast.Attribute)]
        mentioned = {name for node in inside for name in _names(node)}
        defined = {node.name for node in inside if isinstance(node, Definition)}
        imported = {name for node in inside if isinstance(node, ast.alias) for name in _names(node)}
        parameters = [*function.args.posonlyargs, *function.args.args]
        stay = keywords | defined | imported | {"self", *FREE}
        free = iter([name for name in FREE if name not in mentioned])
        new = {parameter.arg: next(free) for parameter in parameters if parameter.arg not in stay}
        renaming = _RenameLocal(new)
        for part in parameters + (function.body if isinstance(function.body, list) else [function.body]):
            renaming.visit(part)  # not the default values: their names are of the scope around


def shorten(trees: Mapping[str, ast.Module], kept: set[str]) -> dict[str, dict[str, str]]:
    """Rename in `trees`, modules by path, what nobody else mentions, and nothing in `kept`; return {module: {new: old}}."""
    nodes = {module: list(ast.walk(tree)) for module, tree in trees.items()}
    mentioned = {module: Counter(name for node in found for name in _names(node)) for module, found in nodes.items()}
    keywords = {node.arg for found in nodes.values() for node in found if isinstance(node, ast.keyword) and node.arg}
    fixed = _fixed(nodes)
    prefixes = tuple(text for text in fixed if text.startswith("_") and text.strip("_"))  # "_do_" + name, for getattr
    stay = fixed | kept | _standard()
    total: Counter[str] = sum(mentioned.values(), Counter())
    defined = {name for tree in trees.values() for name in _definitions(tree)} - stay
    new: dict[str, str] = {}
    taken = {module: set(names) for module, names in mentioned.items()}
    related = _related(nodes)
    for name in sorted(
        defined, key=lambda name: (-sum(name in names for names in mentioned.values()), -total[name], name)
    ):
        users = {other for module, names in mentioned.items() if name in names for other in related[module]}
        free = next((short for short in FREE if not any(short in taken[user] for user in users)), None)
        if free and len(name) > 2 and not name.startswith(prefixes) and not name.startswith("__"):
            new[name] = free
            for user in users:
                taken[user].add(free)
    for tree in trees.values():
        _Rename(new).visit(tree)
        _rename_parameters(tree, keywords | kept)
    return {module: {new[name]: name for name in names if name in new} for module, names in mentioned.items()}
