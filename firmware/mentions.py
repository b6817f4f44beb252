"""How often a whole program defines and mentions a name: as a variable, as an attribute of anything, as one of `self` in a class."""

import ast
from collections import Counter
from collections.abc import Mapping


class Mentions:
    """Of `trees`, modules by path. `texts` are its strings and keywords, `prefixes` those of names that are put together."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self.texts: set[str] = set()
        self._defined: Counter[str] = Counter()
        self._loaded: Counter[str] = Counter()
        self._attributes: dict[str, Counter[str]] = {"": Counter()}  # loaded, by class for those of self, "" for others
        self._own: dict[str, Counter[str]] = {"": Counter()}  # defined, in the same way
        self._bases: list[tuple[str, str]] = []
        for tree in trees.values():
            self._walk(tree, "")
        self.prefixes = tuple(
            text for text in self.texts if text.startswith("_") and text.endswith("_") and text.strip("_")
        )

    def function_once(self, name: str) -> bool:
        """Tell whether a module's function, defined once, is mentioned once."""
        return self._defined[name] == 1 and self._loaded[name] == 1

    def method_once(self, of: str, name: str) -> tuple[bool, bool]:
        """Tell whether the method `name` of the class `of` is mentioned once, and whether no other class has such a one."""
        family = self._family(of)
        elsewhere = self._attributes[""][name] + self._own[""][name]
        defined = sum(self._own[each][name] for each in family)
        loaded = sum(self._attributes[each][name] for each in family)
        if defined == loaded == 1 and not elsewhere:
            return True, False
        every = sum(counter[name] for counter in self._attributes.values())
        once = sum(counter[name] for counter in self._own.values()) == every == 1
        return once, once

    def _family(self, of: str) -> set[str]:
        """Return the classes that inherit from one another."""
        found, size = {of}, 0
        while size < len(found):
            size = len(found)
            for pair in self._bases:
                found |= set(pair) if found & set(pair) else set()
        return {each for each in found if each in self._own}

    def _walk(self, node: ast.AST, within: str) -> None:
        match node:
            case ast.ClassDef(name=name, bases=bases):
                self._defined[name] += 1
                self._own.setdefault(name, Counter())
                self._attributes.setdefault(name, Counter())
                for base in bases:
                    self._bases.append(
                        (name, base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", ""))
                    )
                    self._walk(base, within)
                for each in node.body:
                    match each:
                        case ast.FunctionDef(name=method) | ast.AsyncFunctionDef(name=method):
                            self._own[name][method] += 1
                            self._defined[method] -= 1
                        case ast.Assign(targets=targets):
                            self._own[name].update(target.id for target in targets if isinstance(target, ast.Name))
                    self._walk(each, name)
                return
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                self._defined[name] += 1
            case ast.ExceptHandler(name=str(name)):
                self._defined[name] += 1
            case ast.Name(id=name, ctx=context):
                (self._loaded if isinstance(context, ast.Load) else self._defined)[name] += 1
            case ast.alias(name=name, asname=asname):
                self._loaded.update([name, asname or name])
            case ast.Attribute(attr=name, value=value, ctx=context):
                whose = within if isinstance(value, ast.Name) and value.id == "self" else ""
                (self._attributes if isinstance(context, ast.Load) else self._own)[whose][name] += 1
            case ast.Constant(value=str(text)) | ast.keyword(arg=str(text)):
                self.texts.add(text)
        for child in ast.iter_child_nodes(node):
            self._walk(child, within)
