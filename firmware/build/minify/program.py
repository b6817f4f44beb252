"""What the names of a whole program stand for: its modules, what they define and import, and one
name for each of it all."""

import ast
import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field

from firmware.build.minify.scopes import Comprehension, bindings, module_name, of_scope, parameters, targets
from firmware.build.syntax import walk
from firmware.errors import CompileError


class BundleError(CompileError):
    """A module does what cannot be kept in a bundle. args[0] says which, and what."""


def check_imports(trees: Mapping[str, ast.Module]) -> None:
    """Check that `trees`, modules by path, have what they import from one another. Raises
    BundleError."""
    known = {module_name(path): tree for path, tree in trees.items()}
    has = {name: set(bindings(tree.body)) for name, tree in known.items()}
    for path, tree in trees.items():
        for node in walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in has:
                for alias in node.names:
                    if alias.name not in has[node.module] and f"{node.module}.{alias.name}" not in has:
                        raise BundleError(f"{path} imports {alias.name} from {node.module}, which has none")


@dataclass(frozen=True)
class Target:
    """What an imported name stands for: the module `module` if `name` is "", else what is called so
    in it."""

    module: str
    name: str


@dataclass
class Module:
    """A module: the names that it has (`bound`) and those that it defines itself (`own`); its
    imports, by the names that they get: of the program, and from `outside`."""

    name: str
    path: str
    body: list[ast.stmt]
    head: str
    bound: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    imports: dict[str, Target] = field(default_factory=dict)
    outside: dict[str, ast.Import | ast.ImportFrom] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)  # modules that it imports when it is imported


def let_go(node: ast.AST) -> str:
    """Return the name that the statement deletes, or makes None, or "": so a module that a function
    has imported can leave the heap."""
    match node:
        case ast.Delete(targets=[ast.Name(id=name)]):
            return name
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=None)):
            return name
    return ""


@dataclass(frozen=True)
class Scope:
    """The names that a function binds, and what it imports from these modules, by names that are
    nothing else but None."""

    names: set[str]
    imported: dict[str, Target]


class Program:
    """All modules, by name, and what their names become."""

    def __init__(self, trees: Mapping[str, ast.Module], bundles: tuple[tuple[str, ...], ...], kept: set[str]) -> None:
        paths = {module_name(path): path for path in trees}
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
                for each in walk(node)
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
                # For what it does when it is loaded.
                elif isinstance(node, ast.Import) and alias.name in self.modules:
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
            nodes = list(of_scope(function.body))
            bound.subtract(name for node in nodes if (name := let_go(node)))
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
        """Return a name for each name that a module defines: no other module's, and no variable's
        of a function."""
        taken = {*dir(builtins)}
        for tree in trees.values():
            for node in walk(tree):
                if isinstance(node, ast.Lambda):
                    taken.update(parameters(node.args))
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    scope = self.scope(node)
                    taken |= scope.names - scope.imported.keys()
                elif isinstance(node, Comprehension):
                    taken |= targets(node)
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
                    # What is written in capitals does not change.
                    name += suffix.upper() if name.isupper() else suffix
                unique[target] = name
            taken.add(name)
        return unique
