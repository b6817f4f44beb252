"""One module's code as a part of a bundle: each name of a module becomes the program's one name for
what it stands for."""

import ast
from collections.abc import Iterator

from firmware.build.minify.program import BundleError, Module, Program, Target, let_go
from firmware.build.minify.scopes import bindings, parameters, targets
from firmware.build.syntax import walk


class Rewrite(ast.NodeTransformer):
    """Puts unique names in the place of a module's own and imported ones. `needs` is what must be
    imported from other bundles."""

    def __init__(self, program: Program, module: Module) -> None:
        self._program = program
        self._module = module
        # (is a class, what its names stand for).
        self._scopes: list[tuple[bool, dict[str, Target | None]]] = []
        self._within: ast.AST = ast.Module(module.body, [])
        self.needs: set[Target] = set()

    def _look(self, name: str) -> tuple[Target | None, bool]:
        """Return (what the name stands for, None if no name of a module; whether a function has
        imported it)."""
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

    def _let_go(self, node: ast.Assign | ast.Delete) -> ast.AST | list[ast.stmt]:
        target, local = self._look(let_go(node))
        if not (target and local):
            return self.generic_visit(node)
        found = [target] if target.name else self._used(let_go(node), target.module)
        away = [self._program.unique[each] for each in found if self._program.head(each) != self._module.head]
        if isinstance(node, ast.Delete):
            return [ast.Delete([ast.Name(name, ast.Del())]) for name in away]
        return [ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None), lineno=0) for name in away]

    visit_Assign = visit_Delete = _let_go

    def _used(self, bound: str, module: str) -> list[Target]:
        """Return what the function uses of the module that it has imported as `bound`."""
        used = {
            self._program.resolve(Target(module, node.attr))
            for node in walk(self._within)
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
            # What keeps its name may be called like a variable here: then it goes by the name that
            # the import gives it.
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
        self._scopes.append((False, dict.fromkeys(targets(node))))
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
        """Yield what takes the place of an import of `target` in a function, that calls it
        `bound`."""
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
