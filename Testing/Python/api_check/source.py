"""Checks Python files: follows what variables hold as far as it is plain to see, and looks every name up."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from api_check.form import NODE_CLASS
from api_check.names import Api, Missing, Named, QtClass, QtObject, Thing

# What Slicer's Python has; everything else has to be imported under `except ImportError`.
_OWN = {"brbs", "BRBSTraining", "BRBSTrainingLib", "BRBSSegmentation", "BRBSSegmentationLib"}
_ALWAYS = {*sys.stdlib_module_names, *_OWN, "qt", "ctk", "vtk", "slicer", "numpy", "SimpleITK"}
# Newer than the oldest Slicer that we support.
_OPTIONAL = {"slicer.packaging"}
# How parameters that hold nodes are called in our modules.
_NODES = {"volumeNode": "vtkMRMLScalarVolumeNode", "segmentationNode": "vtkMRMLSegmentationNode"}
_PASSES = 4  # what is passed from one function to the next is known a pass later


class Class(Thing):
    """A class of our own; a call of it makes an object of it."""

    def __init__(self, node: ast.ClassDef) -> None:
        self.label, self.node = node.name, node
        self.base: Thing | None = None
        self.members = {item.name: OwnFunction(item, self) for item in node.body if isinstance(item, ast.FunctionDef)}
        self.attributes: dict[str, Thing | None] = dict.fromkeys(_class_names(node))

    def called(self, literals: list) -> Thing | None:
        return Object(self)

    def get(self, name: str) -> Thing | None:
        if name in self.members:
            return self.members[name]
        if name in self.attributes:
            return self.attributes[name]
        return self.base.get(name) if isinstance(self.base, (QtClass, Class)) else None


class Object(Thing):
    """An object of a class of our own."""

    def __init__(self, cls: Class) -> None:
        self.cls, self.label = cls, cls.label

    def get(self, name: str) -> Thing | None:
        found = self.cls.get(name)
        is_property = isinstance(found, OwnFunction) and found.is_property
        return found.returns if is_property else found


class OwnFunction(Thing):
    """A function of our own: what it is called with and what it returns is gathered."""

    def __init__(self, node: ast.FunctionDef, owner: Class | None = None) -> None:
        self.node, self.owner = node, owner
        self.label = f"{owner.label if owner else ''}.{node.name}:{node.lineno}"
        arguments = [*node.args.posonlyargs, *node.args.args]
        decorators = {decorator.id for decorator in node.decorator_list if isinstance(decorator, ast.Name)}
        self.is_property = bool(decorators & {"property", "cached_property"})
        self.parameters = [argument.arg for argument in arguments[bool(owner) and "staticmethod" not in decorators :]]
        self.given: dict[str, Thing | None] = {}
        self.returns: Thing | None = None

    def called(self, literals: list) -> Thing | None:
        return self.returns

    def take(self, arguments: list, named: dict) -> None:
        """Notes what a call passes; of two different things nothing is known."""
        for name, thing in [*zip(self.parameters, arguments), *named.items()]:
            if thing is not None:
                self.given[name] = thing if self.given.get(name, thing) == thing else UNCLEAR


UNCLEAR = Thing()


class Project:
    """The Python files of one module.

    Args:
        paths: the files.
        widgets: the widgets of its forms.
        api: what exists.

    Attributes:
        parameters: names in classes under ``@parameterNodeWrapper``.
    """

    def __init__(self, paths: list[Path], widgets: dict[str, QtObject], api: Api) -> None:
        self.api, self.form = api, Named("ui", (), dict(widgets))
        self._trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
        self.own = {path.stem: _definitions(tree) for path, tree in self._trees.items()}
        classes = [node for tree in self._trees.values() for node in tree.body if isinstance(node, ast.ClassDef)]
        self.parameters = {name for node in classes for name in _parameters(node)}
        self.files = {path.stem for path in paths} | {path.parent.name for path in paths}

    def problems(self) -> list[str]:
        """Returns what does not exist, in order of file and line."""
        for _ in range(_PASSES):
            readers = [_Reader(self, path) for path in self._trees]
            for reader, tree in zip(readers, self._trees.values()):
                reader.read(tree)
        found = {problem for reader in readers for problem in reader.found}
        return [f"{path}:{line}: {text} does not exist" for path, line, text in sorted(found)]


class _Reader(ast.NodeVisitor):
    """Reads one file once. The visit of an expression returns the thing that it stands for, or None."""

    def __init__(self, project: Project, path: Path) -> None:
        self._project, self._path = project, path
        self._own = project.own[path.stem]
        self._scopes: list[dict[str, Thing | None]] = [dict(self._own)]
        self._functions: list[OwnFunction | None] = []
        self._caught: list[set[str]] = []
        self._tested: set[str] = set()
        self.found: set[tuple[Path, int, str]] = set()

    def read(self, tree: ast.Module) -> None:
        self._tested = _tested_names(tree)
        for statement in tree.body:
            self.visit(statement)

    # ---- names

    def _look(self, thing: Thing | None, name: str, node: ast.AST) -> Thing | None:
        try:
            return thing.get(name) if thing is not None else None
        except Missing as missing:
            if name not in self._tested and "AttributeError" not in self._catching():
                self._report(node, missing)
            return None

    def _report(self, node: ast.AST, text) -> None:
        self.found.add((self._path, node.lineno, str(text)))

    def _catching(self) -> set[str]:
        return set().union(*self._caught)

    def _bind(self, name: str, thing: Thing | None) -> None:
        scope = self._scopes[-1]
        scope[name] = thing if scope.get(name, thing) == thing else UNCLEAR

    def visit_Name(self, node: ast.Name) -> Thing | None:
        for scope in reversed(self._scopes):
            if node.id in scope:
                return scope[node.id]
        return None

    def visit_Attribute(self, node: ast.Attribute) -> Thing | None:
        thing = self.visit(node.value)
        found = self._look(thing, node.attr, node)
        if isinstance(thing, Named) and f"{thing.label}.{node.attr}" in _OPTIONAL:
            self._optional(f"{thing.label}.{node.attr}", node)
        return found

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and NODE_CLASS.fullmatch(node.value):
            try:
                self._project.api.node(node.value)
            except Missing as missing:
                self._report(node, missing)

    # ---- imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._optional(alias.name, node)
            thing = self._project.api.modules.get(alias.name if alias.asname else alias.name.split(".")[0])
            self._bind(alias.asname or alias.name.split(".")[0], thing)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0:
            self._optional(node.module, node)
        module = self._project.api.modules.get(node.module) if node.level == 0 else None
        for alias in node.names:
            label = f"{node.module}.{alias.name}"
            own = self._project.own.get((node.module or "").split(".")[-1], {})
            thing = self._look(module, alias.name, node) if module else own.get(alias.name)
            self._bind(alias.asname or alias.name, self._project.api.modules.get(label, thing))

    def _optional(self, module: str, node: ast.AST) -> None:
        """What may be absent has to be imported under `except ImportError`, or after a look with hasattr."""
        top = module.split(".")[0]
        scripted = top.lower() in self._project.api.modules["slicer.modules"]._names
        present = top in _ALWAYS or top in self._project.files or scripted
        guarded = self._catching() & {"ImportError", "ModuleNotFoundError"}
        tested = {name.lower() for name in self._tested} & {module.lower(), module.split(".")[-1].lower()}
        if (module in _OPTIONAL or not present) and not guarded and not tested:
            self._report(node, f"module {module}, which may be absent: without `except ImportError`, it")

    def visit_Try(self, node: ast.Try) -> None:
        self._caught.append({name for handler in node.handlers for name in _names(handler.type)})
        self._each(node.body)
        self._caught.pop()
        self._each([*node.handlers, *node.orelse, *node.finalbody])

    # ---- definitions

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._each(node.decorator_list)
        bases = [self.visit(base) for base in node.bases]
        cls = self._defined(node, Class)
        # with a base that is not known, everything is believed
        cls.base = bases[0] if len(bases) == 1 and bases[0] is not None else None
        self._bind(node.name, cls)
        self._scopes.append({})
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef):
                self._function(statement, cls.members.get(statement.name), Object(cls))
            else:
                self.visit(statement)
        self._scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        own = self._defined(node, OwnFunction)
        self._bind(node.name, own)
        self._function(node, own, None)

    def _defined(self, node: ast.AST, kind: type):
        """What is gathered about a definition of the file; one within a function is new each time."""
        known = self._own.get(node.name)
        return known if isinstance(known, kind) and known.node is node else kind(node)

    def _function(self, node: ast.FunctionDef, own: OwnFunction | None, owner: Object | None) -> None:
        self._each([*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)])
        scope: dict[str, Thing | None] = {}
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            given = own.given.get(argument.arg) if own else None
            scope[argument.arg] = self._annotated(argument.annotation) or given or self._named(argument.arg)
        if owner is not None and node.args.args[:1] and node.args.args[0].arg == "self":
            scope["self"] = owner
        self._scopes.append(scope)
        self._functions.append(own)
        self._each(node.body)
        self._functions.pop()
        self._scopes.pop()

    def _annotated(self, annotation: ast.expr | None) -> Thing | None:
        """An object of the class that an annotation names; of ``X | None``, of X."""
        if isinstance(annotation, ast.BinOp):
            annotation = annotation.left
        if not isinstance(annotation, (ast.Name, ast.Attribute)):
            return None
        thing = self.visit(annotation)
        return thing.called([]) if thing is not None and not isinstance(thing, OwnFunction) else None

    def _named(self, name: str) -> Thing | None:
        if name == "ui":
            return self._project.form
        return self._project.api.node(_NODES[name]) if name in _NODES else None

    def visit_Lambda(self, node: ast.Lambda) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._each([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        self._scopes.append(dict.fromkeys(argument.arg for argument in arguments))
        self.visit(node.body)
        self._scopes.pop()

    def visit_Return(self, node: ast.Return) -> None:
        thing = self.visit(node.value) if node.value else None
        own = self._functions[-1] if self._functions else None
        if own is not None and thing is not None:
            own.returns = thing if own.returns in (None, thing) else UNCLEAR

    # ---- statements

    def visit_Assign(self, node: ast.Assign) -> None:
        things = self.visit(node.value)
        for target in node.targets:
            self._assign(target, node.value, things)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        thing = self.visit(node.value) if node.value else None
        self._assign(node.target, node.value, self._annotated(node.annotation) or thing)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Thing | None:
        thing = self.visit(node.value)
        self._assign(node.target, node.value, thing)
        return thing

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        things = [self.visit(item) for item in getattr(node.iter, "elts", [])]
        same = things[0] if things and all(thing == things[0] for thing in things) else None
        self._assign(node.target, None, same)
        self._each([*node.body, *node.orelse])

    def _assign(self, target: ast.expr, value: ast.expr | None, thing: Thing | None) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, thing)
        elif isinstance(target, (ast.Tuple, ast.List)):
            values = getattr(value, "elts", None) or [None] * len(target.elts)
            for part, item in zip(target.elts, values):
                self._assign(part, item, self.visit(item) if item is not None else None)
        elif isinstance(target, ast.Attribute):
            self._assign_attribute(target, thing)
        elif not isinstance(target, ast.Starred):
            self.visit(target)

    def _assign_attribute(self, target: ast.Attribute, thing: Thing | None) -> None:
        owner = self.visit(target.value)
        if isinstance(owner, Object):
            known = owner.cls.attributes.get(target.attr)
            owner.cls.attributes[target.attr] = thing if known in (None, thing) else known if thing is None else UNCLEAR
        else:
            self._look(owner, target.attr, target)

    # ---- calls

    def visit_Call(self, node: ast.Call) -> Thing | None:
        function = self.visit(node.func)
        arguments = [self.visit(argument) for argument in node.args]
        named = {keyword.arg: self.visit(keyword.value) for keyword in node.keywords}
        literals = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
        if isinstance(node.func, ast.Attribute):
            self._signature(node.func, literals)
            if node.func.attr == "childWidgetVariables":
                return self._project.form
        own = function.get("__init__") if isinstance(function, Class) else function
        if isinstance(own, OwnFunction):
            own.take(arguments, named)
        try:
            return function.called(literals) if function is not None else None
        except Missing:  # the constant has been reported
            return None

    def _signature(self, function: ast.Attribute, literals: list) -> None:
        """``widget.connect("clicked(bool)", slot)``: the widget has to have the signal."""
        if function.attr in ("connect", "disconnect") and literals and isinstance(literals[0], str):
            self._look(self.visit(function.value), literals[0].partition("(")[0], function)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            names = {
                part.id for each in node.generators for part in ast.walk(each.target) if isinstance(part, ast.Name)
            }
            self._scopes.append(dict.fromkeys(names))
            super().generic_visit(node)
            self._scopes.pop()
        else:
            super().generic_visit(node)

    def _each(self, nodes: list) -> None:
        for node in nodes:
            self.visit(node)


def _names(expression: ast.expr | None) -> set[str]:
    """The exceptions of a handler; a bare one and Exception catch all."""
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)} if expression else {"Exception"}
    return names | {"ImportError", "AttributeError"} if "Exception" in names else names


def _tested_names(tree: ast.AST) -> set[str]:
    """Names that are looked for with hasattr or getattr with a default."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    tests = [call for call in calls if (call.func.id, len(call.args)) in {("hasattr", 2), ("getattr", 3)}]
    return {call.args[1].value for call in tests if isinstance(call.args[1], ast.Constant)}


def _class_names(node: ast.ClassDef) -> set[str]:
    """Names that a class gets: in its body and by ``self.x = ...``."""
    stores = [part for part in ast.walk(node) if isinstance(getattr(part, "ctx", None), ast.Store)]
    attributes = {part.attr for part in stores if isinstance(part, ast.Attribute) and _is_self(part.value)}
    body = {part.id for item in node.body for part in ast.walk(item) if part in stores and isinstance(part, ast.Name)}
    return attributes | body


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _definitions(tree: ast.Module) -> dict[str, Thing]:
    """Classes and functions of a file, by name."""
    kinds = {ast.ClassDef: Class, ast.FunctionDef: OwnFunction}
    return {node.name: kinds[type(node)](node) for node in tree.body if type(node) in kinds}


def _parameters(node: ast.ClassDef) -> set[str]:
    wrapped = any("parameterNodeWrapper" in ast.dump(decorator) for decorator in node.decorator_list)
    annotated = [item.target.id for item in node.body if isinstance(item, ast.AnnAssign)]
    return set(annotated) if wrapped else set()
