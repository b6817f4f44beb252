"""Several modules in one file, for boards: what is loaded together, and let go of together, is one module there.

A file costs a block of flash, and its module a dictionary, tables of names and constants, its own names and those of all
that it imports. So the modules of a line of BUNDLES become one, under the name of the first of them. Each of their own
names becomes one that no other module of the program defines; imports between them vanish; imports of them, anywhere in
the program, name the bundle. A package without code of its own needs no file. The code does the same: nothing in it may
depend on a module as an object, and what does is refused here.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# The first of a line is what the bundle is called. What agent/runtime/unload.py lets go of must stand apart from what stays, and what
# code of others than the build imports (firmware/main.py, firmware/provision.py) must come first.
BUNDLES = tuple(
    tuple(line.split())
    for line in """
agent.runtime.store agent.runtime.ticks agent.runtime.calendar agent.runtime.clock agent.runtime.mask_stock \
    agent.runtime.share_stock agent.runtime.diagnostics agent.runtime.unload agent.wire.cbor agent.wire.topics \
    agent.wire.messages agent.wire.envelope agent.crypto.errors agent.crypto.octets agent.crypto.hmac \
    agent.crypto.aes_ccm agent.crypto.hkdf agent.crypto.accelerate agent.crypto.p256_table agent.protocols \
    agent.protocols.provision
agent.runtime.board agent.runtime.schedule agent.runtime.upkeep agent.runtime.mqtt agent.runtime.mqtt_packets \
    agent.runtime.mqtt_incoming agent.runtime.mqtt_socket agent.runtime.mqtt_link
agent.runtime.main agent.runtime.updater agent.runtime.versions agent.runtime.watchdog agent.runtime.reach
agent.runtime.identity agent.runtime.start agent.runtime.settings agent.runtime.trust
agent.runtime.update agent.runtime.staging agent.wire.release
agent.runtime.discovery agent.runtime.resolve agent.wire.dns
agent.runtime.p1_port agent.meters.dsmr
agent.runtime.s0_pin agent.meters.pulse
agent.protocols.private_sum agent.protocols.contributing agent.protocols.membership agent.crypto.residue \
    agent.joye_libert.parameters agent.joye_libert.packing agent.joye_libert.blinding agent.joye_libert.pairs \
    agent.joye_libert.masks
agent.protocols.gossip agent.wire.queries agent.gossip.group agent.gossip.pair_keys agent.gossip.mail \
    agent.gossip.onion agent.crypto.p256_compressed agent.gossip.functions agent.gossip.asked agent.gossip.parts \
    agent.gossip.plan agent.gossip.secrets agent.gossip.tuples agent.gossip.routes agent.gossip.shuffle \
    agent.gossip.stock agent.gossip.tree agent.gossip.carried agent.gossip.echo agent.gossip.node \
    agent.gossip.inquiry agent.gossip.admission
agent.gossip.privacy agent.gossip.laplace agent.gossip.paired_noise
agent.protocols.joining agent.joye_libert.moduli
agent.protocols.signed_roster agent.wire.rosters
agent.protocols.keying agent.joye_libert.zero_sum agent.joye_libert.cohorts agent.joye_libert.integer_shares
agent.protocols.dealing agent.protocols.mail
""".strip().splitlines()
)
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class BundleError(Exception):
    """A module does what cannot be kept in a bundle. args[0] says which, and what."""


@dataclass(frozen=True)
class Target:
    """What an imported name stands for: the module `module` if `name` is "", else what is called so in it."""

    module: str
    name: str


@dataclass
class Module:
    """A module: the names that it has (`bound`) and those that it defines itself (`own`); its imports, by the names that they get:
    of the program, and from `outside`."""

    name: str
    path: str
    body: list[ast.stmt]
    head: str
    bound: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    imports: dict[str, Target] = field(default_factory=dict)
    outside: dict[str, ast.Import | ast.ImportFrom] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)  # modules that it imports when it is imported


def bindings(body: list[ast.stmt]) -> Counter[str]:
    """Return how often the statements bind each name in their own scope: not in the functions and classes in it."""
    found: Counter[str] = Counter()
    elsewhere: set[str] = set()
    for node in _of_scope(body):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] += 1
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.ExceptHandler(name=str(name)):
                found[name] += 1
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found.update((alias.asname or alias.name).split(".")[0] for alias in aliases)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere.update(names)
    for name in elsewhere:
        del found[name]
    return found


def _of_scope(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, those of functions, classes and comprehensions in it without what is inside."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, Function | Comprehension | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(node))


def _let_go(node: ast.AST) -> str:
    """Return the name that the statement makes None, or "": so a module that a function has imported can leave the heap."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=None)):
            return name
    return ""


def parameters(arguments: ast.arguments) -> list[str]:
    """Return the names of all parameters."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.arg for each in (*named, arguments.vararg, arguments.kwarg) if each]


@dataclass(frozen=True)
class Scope:
    """The names that a function binds, and what it imports from these modules, by names that are nothing else but None."""

    names: set[str]
    imported: dict[str, Target]


class Program:
    """All modules, by name, and what their names become."""

    def __init__(self, trees: Mapping[str, ast.Module], bundles: tuple[tuple[str, ...], ...], kept: set[str]) -> None:
        paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in trees}
        self.lines = [there for line in bundles if (there := [name for name in line if name in paths])]
        heads = {name: line[0] for line in self.lines for name in line}
        self.modules = {
            name: Module(name, path, trees[path].body, heads.get(name, name)) for name, path in paths.items()
        }
        for module in self.modules.values():
            module.bound = set(bindings(module.body))
            module.own = set(
                bindings([node for node in module.body if not isinstance(node, ast.Import | ast.ImportFrom)])
            )
            module.own |= {
                name
                for node in module.body
                for each in ast.walk(node)
                if isinstance(each, ast.Global)
                for name in each.names
            }
        for module in self.modules.values():
            self._take_imports(module)
        self._scopes: dict[ast.AST, Scope] = {}
        self.unique = self._unique(trees, kept)

    def _take_imports(self, module: Module) -> None:
        """Take the module's imports off its body, where they are unconditional."""
        body = []
        for node in module.body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                    body.append(node)
                continue
            for alias in node.names:
                target = self.target(node, alias)
                if target:
                    module.imports[alias.asname or alias.name] = target
                    module.loads.append(target.module)
                elif isinstance(node, ast.Import) and alias.name in self.modules:  # for what it does when it is loaded
                    module.loads.append(alias.name)
                else:
                    one = (
                        ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], 0)
                    )
                    module.outside[alias.asname or alias.name] = one
        module.body = body

    def target(self, node: ast.AST, alias: ast.alias) -> Target | None:
        """Return what an import's alias stands for, None if it is nothing of these modules."""
        module = node.module if isinstance(node, ast.ImportFrom) else None
        if f"{module}.{alias.name}" in self.modules:
            return Target(f"{module}.{alias.name}", "")
        return (
            Target(module, alias.name) if module in self.modules and alias.name in self.modules[module].bound else None
        )

    def scope(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Scope:
        """Return what is bound in a function."""
        if function not in self._scopes:
            bound = bindings(function.body)
            bound.update(parameters(function.args))
            names = set(bound)
            nodes = list(_of_scope(function.body))
            bound.subtract(name for node in nodes if (name := _let_go(node)))
            found = {
                alias.asname or alias.name: self.target(node, alias)
                for node in nodes
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            imported = {name: target for name, target in found.items() if target and bound[name] == 1}
            self._scopes[function] = Scope(names, imported)
        return self._scopes[function]

    def resolve(self, target: Target) -> Target:
        """Follow names that a module has from another one. Raises BundleError."""
        module = self.modules[target.module]
        if not target.name or target.name in module.own:
            return target
        if target.name in module.imports:
            return self.resolve(module.imports[target.name])
        raise BundleError(f"{target.module} has no {target.name}")

    def head(self, target: Target) -> str:
        """Return the name of the bundle that the target is in."""
        return self.modules[target.module].head

    def _unique(self, trees: Mapping[str, ast.Module], kept: set[str]) -> dict[Target, str]:
        """Return a name for each name that a module defines: no other module's, and no variable's of a function."""
        taken = {*dir(builtins)}
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.Lambda):
                    taken.update(parameters(node.args))
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    scope = self.scope(node)
                    taken |= scope.names - scope.imported.keys()
                elif isinstance(node, Comprehension):
                    taken.update(bound for part in node.generators for bound in _targets(part))
        taken |= {name for module in self.modules.values() for name in module.outside}
        unique = {}
        defined = [Target(module.name, name) for module in self.modules.values() for name in sorted(module.own)]
        for target in sorted(defined, key=lambda each: self.head(each) != each.module or each.name not in kept):
            name = target.name
            if target.module == self.head(target) and name in kept:
                unique[target] = name  # others than the build look for it
            else:
                while name in taken:
                    suffix = "_of_" + target.module.rpartition(".")[2]
                    name += suffix.upper() if name.isupper() else suffix  # what is written in capitals does not change
                unique[target] = name
            taken.add(name)
        return unique


def _targets(part: ast.comprehension) -> list[str]:
    return [node.id for node in ast.walk(part.target) if isinstance(node, ast.Name)]


class _Rewrite(ast.NodeTransformer):
    """Puts unique names in the place of a module's own and imported ones. `needs` is what must be imported from other bundles."""

    def __init__(self, program: Program, module: Module) -> None:
        self._program = program
        self._module = module
        self._scopes: list[tuple[bool, dict[str, Target | None]]] = []  # (is a class, what its names stand for)
        self._within: ast.AST = ast.Module(module.body, [])
        self.needs: set[Target] = set()

    def _look(self, name: str) -> tuple[Target | None, bool]:
        """Return (what the name stands for, None if no name of a module; whether a function has imported it)."""
        for depth, (is_class, names) in enumerate(reversed(self._scopes)):
            if name in names and not (is_class and depth):
                return names[name], True
        if name in self._module.own:
            return Target(self._module.name, name), False
        found = self._module.imports.get(name)
        return (self._program.resolve(found) if found else None), False

    def _new(self, target: Target, local: bool) -> str:
        if not target.name:
            raise BundleError(f"{self._module.path} uses the module {target.module} as an object")
        if not local and self._program.head(target) != self._module.head:
            self.needs.add(target)
        new = self._program.unique[target]
        if any(new in names and names[new] is None for is_class, names in self._scopes if not is_class):
            raise BundleError(
                f"{self._module.path} has a variable {new}, and uses {new} of {target.module}: rename one"
            )
        return new

    def visit_Name(self, node: ast.Name) -> ast.AST:
        target, local = self._look(node.id)
        return ast.copy_location(ast.Name(self._new(target, local), node.ctx), node) if target else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name):
            target, local = self._look(node.value.id)
            if target and not target.name:
                found = self._program.resolve(Target(target.module, node.attr))
                if not isinstance(node.ctx, ast.Load):
                    raise BundleError(f"{self._module.path} sets {node.attr} in {target.module}")
                return ast.copy_location(ast.Name(self._new(found, local), node.ctx), node)
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        target, local = self._look(_let_go(node))
        if not (target and local):
            return self.generic_visit(node)
        found = [target] if target.name else self._used(_let_go(node), target.module)
        away = [each for each in found if self._program.head(each) != self._module.head]
        nothing = ast.Constant(None)
        return [ast.Assign([ast.Name(self._program.unique[each], ast.Store())], nothing, lineno=0) for each in away]

    def _used(self, bound: str, module: str) -> list[Target]:
        """Return what the function uses of the module that it has imported as `bound`."""
        used = {
            self._program.resolve(Target(module, node.attr))
            for node in ast.walk(self._within)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == bound
        }
        return sorted(used, key=lambda target: self._program.unique[target])

    def visit_Global(self, node: ast.Global) -> ast.AST:
        return ast.Global([self._program.unique[Target(self._module.name, name)] for name in node.names])

    def _name(self, name: str) -> str:
        """Return what a name that is bound here becomes."""
        return name if self._scopes else self._program.unique[Target(self._module.name, name)]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._name(node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._name(node.name)
        node.bases = [self.visit(base) for base in node.bases]
        self._scopes.append((True, dict.fromkeys(bindings(node.body))))
        node.body = self._statements(node.body)
        self._scopes.pop()
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.name = self._name(node.name)
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        scope = self._program.scope(node)
        names: dict[str, Target | None] = dict.fromkeys(scope.names)
        for name, target in scope.imported.items():
            found = self._program.resolve(target)
            # What keeps its name may be called like a variable here: then it goes by the name that the import gives it.
            if not found.name or names.get(self._program.unique[found], found) is found or name == found.name:
                names[name] = found
        self._scopes.append((False, names))
        within, self._within = self._within, node
        node.body = self._statements(node.body)
        self._within = within
        self._scopes.pop()
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        self._scopes.append((False, dict.fromkeys(parameters(node.args))))
        node.body = self.visit(node.body)
        self._scopes.pop()
        return node

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.AST:
        self._scopes.append((False, dict.fromkeys(name for part in node.generators for name in _targets(part))))
        self.generic_visit(node)
        self._scopes.pop()
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for node in body:
            found = self.visit(node)
            made += found if isinstance(found, list) else [found] if found else []
        return made or [ast.Pass()]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]  # an import was all that there was
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        if not self._scopes:
            for alias in node.names:
                alias.asname = self._name(alias.asname or alias.name)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        made: list[ast.stmt] = []
        for alias in node.names:
            target = self._program.target(node, alias)
            if target and not self._scopes:
                raise BundleError(f"{self._module.path} imports {node.module} on a condition")
            if target:
                made += self._import(alias.asname or alias.name, self._program.resolve(target))
            else:
                alias.asname = alias.asname if self._scopes else self._name(alias.asname or alias.name)
                made.append(ast.ImportFrom(node.module, [alias], 0))
        return made

    def _import(self, bound: str, target: Target) -> Iterator[ast.stmt]:
        """Yield what takes the place of an import of `target` in a function, that calls it `bound`."""
        head, here = self._program.head(target), self._program.head(target) == self._module.head
        if target.name and self._scopes[-1][1][bound] is None:  # it gets other values, too
            new = self._program.unique[target]
            if here:
                yield ast.Assign([ast.Name(bound, ast.Store())], ast.Name(new, ast.Load()), lineno=0)
            else:
                yield ast.ImportFrom(head, [ast.alias(new, bound)], 0)
        elif target.name:
            if not here:
                yield ast.ImportFrom(head, [ast.alias(self._program.unique[target])], 0)
        elif self._scopes[-1][1][bound] is None:
            raise BundleError(
                f"{self._module.path} gives the module {target.module} a name that something else has, too"
            )
        elif not here:
            used = self._used(bound, target.module)
            for other in sorted({self._program.head(each) for each in used} - {self._module.head}):
                names = [self._program.unique[each] for each in used if self._program.head(each) == other]
                yield ast.ImportFrom(other, [ast.alias(name) for name in names], 0)
            if not used:
                yield ast.Import([ast.alias(head)])


def bundle(
    trees: Mapping[str, ast.Module], kept: set[str], bundles: tuple[tuple[str, ...], ...] = BUNDLES
) -> dict[str, ast.Module]:
    """Return the modules that `trees`, by path, become, by path: those of `bundles`, and the others, which import from them.

    What is in `kept` and in the first module of a bundle, or in a module of its own, keeps its name. Raises BundleError.
    """
    program = Program(trees, bundles, kept)
    members: dict[str, list[Module]] = {}
    lines = {line[0]: line for line in program.lines}
    for module in program.modules.values():
        if module.head not in members:
            members[module.head] = []
            for name in lines.get(module.head, [module.name]):
                _append(program, program.modules[name], members[module.head])
    made = {}
    loads = {}
    for head, modules in members.items():
        made[head], loads[head] = _join(program, head, modules)
    _check_order(loads)
    return {program.modules[head].path: tree for head, tree in made.items() if tree.body}


def _append(program: Program, module: Module, members: list[Module]) -> None:
    """Append the module to the bundle's members, after those that it loads. Raises BundleError."""
    if module in members:
        return
    for name in module.loads:
        if program.modules[name].head == module.head and name != module.name:
            _append(program, program.modules[name], members)
    members.append(module)


def _join(program: Program, head: str, members: list[Module]) -> tuple[ast.Module, list[str]]:
    """Return the bundle of `members`, and the bundles that it loads when it is loaded."""
    outside: dict[str, ast.stmt] = {}
    body: list[ast.stmt] = []
    needs: set[Target] = set()
    loads: dict[str, None] = {}
    for module in members:
        rewrite = _Rewrite(program, module)
        for node in module.body:
            found = rewrite.visit(node)
            body += found if isinstance(found, list) else [found] if found else []
        needs |= rewrite.needs
        loads |= dict.fromkeys(program.modules[name].head for name in module.loads)
        for name, one in module.outside.items():
            if name in outside and ast.dump(outside[name]) != ast.dump(one):
                raise BundleError(f"{module.path} calls something else {name} than the modules beside it")
            outside[name] = one
    loads |= dict.fromkeys(program.head(target) for target in needs)
    loads = {name: None for name in loads if name != head and program.modules[name].body}
    imports: list[ast.stmt] = []
    for other in loads:
        names = sorted(program.unique[target] for target in needs if program.head(target) == other)
        imports.append(
            ast.ImportFrom(other, [ast.alias(name) for name in names], 0) if names else ast.Import([ast.alias(other)])
        )
    return ast.fix_missing_locations(ast.Module([*imports, *outside.values(), *body], [])), list(loads)


def _check_order(loads: Mapping[str, list[str]]) -> None:
    """Check that no bundle needs, while it is loaded, one that is being loaded because of it. Raises BundleError."""
    left = {head: set(others) for head, others in loads.items()}
    while left:
        ready = {head for head, others in left.items() if not others & left.keys()}
        if not ready:
            raise BundleError(f"{', '.join(sorted(left))} load one another")
        left = {head: others for head, others in left.items() if head not in ready}
