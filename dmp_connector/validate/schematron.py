"""Compile ISO Schematron (ISO/IEC 19757-3, query binding xslt2) into XSLT 3.0.

Covers what the schematrons of the ANS use: include, phases, abstract patterns with parameters, abstract rules
with extends, let at every level, assert, report, value-of, name. Schemas are the operator's own files, read
without DTD; an include that does not resolve, even without regard to case (the kit was made where case does
not matter), is an error naming it.

The stylesheet answers `<findings>` with one `<finding kind test role rule location>` per failed assert and
successful report. Within a pattern the first rule that matches a node is the only one to fire (6.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path

from lxml import etree

from dmp_connector.errors import BadSettings
from dmp_connector.texts import message

SCH = "http://purl.oclc.org/dsdl/schematron"
XSL = "http://www.w3.org/1999/XSL/Transform"
_MAX_INCLUDES = 5000
_Rules = Mapping[str, etree._Element]  # abstract rules by id


class BadSchematron(BadSettings):
    """A schema we cannot compile: file and reason."""


def compile_schema(path: Path) -> bytes:
    """The XSLT of one schema. Its base URI is the schema's, so `document('../x')` means the same. Raises BadSchematron."""
    schema = _load(path)
    _resolve_includes(schema, path.parent, [0])
    _instantiate_patterns(schema, path)
    root = etree.Element(f"{{{XSL}}}stylesheet", nsmap=_namespaces(schema))  # type: ignore[arg-type]  # the stubs forget the default namespace
    root.set("version", "3.0")
    root.set("{http://www.w3.org/XML/1998/namespace}base", path.resolve().as_uri())
    etree.SubElement(root, f"{{{XSL}}}output", method="xml", encoding="UTF-8")
    for let in _children(schema, "let"):
        _variable(root, let)
    patterns = _active(schema)
    abstract = {r.get("id", ""): r for r in schema.iter(f"{{{SCH}}}rule") if r.get("abstract") == "true"}
    for number, pattern in enumerate(patterns):
        _pattern(root, abstract, pattern, f"m{number}")
    start = etree.SubElement(root, f"{{{XSL}}}template", match="/")
    findings = etree.SubElement(start, "findings")
    for number in range(len(patterns)):
        etree.SubElement(findings, f"{{{XSL}}}apply-templates", select="/", mode=f"m{number}")
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _load(path: Path) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True)
    try:
        return etree.parse(str(path), parser).getroot()
    except (OSError, etree.XMLSyntaxError) as error:
        raise BadSchematron(message("at", place=path.name, what=str(error))) from error


def _children(element: etree._Element, name: str) -> list[etree._Element]:
    return element.findall(f"{{{SCH}}}{name}")


def _resolve_includes(element: etree._Element, folder: Path, count: list[int]) -> None:
    """Replace every include by the root of the file it names, relative to the file that includes."""
    for include in list(element.iter(f"{{{SCH}}}include")):
        count[0] += 1
        if count[0] > _MAX_INCLUDES:
            raise BadSchematron(message("validate.more-than-includes", max_includes=_MAX_INCLUDES))
        target = _existing(folder, include.get("href", ""))
        included = _load(target)
        _resolve_includes(included, target.parent, count)
        parent = include.getparent()
        if parent is None:
            raise BadSchematron(message("validate.include-cannot-root"))
        included.tail = include.tail
        parent.replace(include, included)


def _existing(folder: Path, href: str) -> Path:
    """The file, also when only the case of a step differs."""
    here = folder
    for step in href.split("#")[0].replace("\\", "/").split("/"):
        if step in {"", "."}:
            continue
        if step == "..":
            here = here.parent
            continue
        exact = here / step
        if not exact.exists():
            exact = next((p for p in here.iterdir() if p.name.casefold() == step.casefold()), exact) if here.is_dir() else exact
        here = exact
    if not here.is_file():
        raise BadSchematron(message("validate.include-does-not-exist", href=href))
    return here


def _instantiate_patterns(schema: etree._Element, path: Path) -> None:
    abstract = {p.get("id"): p for p in _children(schema, "pattern") if p.get("abstract") == "true"}
    for pattern in _children(schema, "pattern"):
        name = pattern.get("is-a")
        if name is None:
            continue
        if name not in abstract:
            raise BadSchematron(message("validate.pattern-which-not-there", name=path.name, what=pattern.get("id"), name2=name))
        values = {p.get("name", ""): p.get("value", "") for p in _children(pattern, "param")}
        concrete = deepcopy(abstract[name])
        concrete.attrib.pop("abstract")
        concrete.set("id", pattern.get("id") or name)
        _substitute(concrete, values)
        schema.replace(pattern, concrete)
    for pattern in abstract.values():
        schema.remove(pattern)


def _substitute(pattern: etree._Element, values: dict[str, str]) -> None:
    if not values:
        return
    names = sorted(values, key=len, reverse=True)
    finder = re.compile(r"\$(" + "|".join(map(re.escape, names)) + r")(?![\w.-])")
    for element in pattern.iter(etree.Element):
        for key, text in element.attrib.items():
            if "$" in text:
                element.set(key, finder.sub(lambda m: values[m[1]], str(text)))


def _namespaces(schema: etree._Element) -> dict[str | None, str]:
    found: dict[str | None, str] = {"xsl": XSL}
    for ns in _children(schema, "ns"):
        prefix = ns.get("prefix", "")
        if prefix not in {"xml", "xsl"}:
            found[prefix] = ns.get("uri", "")
    # Prefixes that an included file declares for itself and uses in its expressions.
    for element in schema.iter(etree.Element):
        for declared, uri in element.nsmap.items():
            if declared and declared not in found and uri != SCH:
                found[declared] = uri
    return found


def _active(schema: etree._Element) -> list[etree._Element]:
    patterns = [p for p in _children(schema, "pattern") if p.get("abstract") != "true"]
    phase = schema.get("defaultPhase")
    if phase in {None, "#ALL"}:
        return patterns
    chosen = next((p for p in _children(schema, "phase") if p.get("id") == phase), None)
    if chosen is None:
        raise BadSchematron(message("validate.phase-not-there", phase=phase))
    wanted = {a.get("pattern") for a in _children(chosen, "active")}
    return [p for p in patterns if p.get("id") in wanted]


def _variable(parent: etree._Element, let: etree._Element) -> None:
    variable = etree.SubElement(parent, f"{{{XSL}}}variable", name=let.get("name", ""))
    if let.get("value") is not None:
        variable.set("select", let.get("value", ""))
    else:
        variable.text = let.text


def _pattern(root: etree._Element, abstract: _Rules, pattern: etree._Element, mode: str) -> None:
    etree.SubElement(root, f"{{{XSL}}}mode", {"name": mode, "on-no-match": "shallow-skip", "warning-on-multiple-match": "no"})
    for let in _children(pattern, "let"):
        _variable(root, let)
    rules = [r for r in _children(pattern, "rule") if r.get("abstract") != "true"]
    for number, rule in enumerate(rules):
        template = etree.SubElement(root, f"{{{XSL}}}template", match=rule.get("context", ""), mode=mode, priority=str(len(rules) - number))
        for part in _parts(abstract, rule, ()):
            _emit(template, part, rule)
        etree.SubElement(template, f"{{{XSL}}}apply-templates", select="@* | node()", mode="#current")


def _parts(abstract: _Rules, rule: etree._Element, inside: tuple[str, ...]) -> Iterator[etree._Element]:
    """The lets, asserts and reports of a rule, those of the rules it extends in their place."""
    for part in rule:
        if part.tag != f"{{{SCH}}}extends":
            yield part
            continue
        name = part.get("rule", "")
        if name in inside:
            raise BadSchematron(message("validate.rule-extends-itself", name=name))
        base = abstract.get(name)
        if base is None:
            raise BadSchematron(message("validate.abstract-rule-not-there", name=name))
        yield from _parts(abstract, base, (*inside, name))


def _emit(template: etree._Element, part: etree._Element, rule: etree._Element) -> None:
    kind = etree.QName(part).localname
    if kind == "let":
        _variable(template, part)
    elif kind in {"assert", "report"}:
        test = part.get("test", "")
        guard = etree.SubElement(template, f"{{{XSL}}}if", test=f"not({test})" if kind == "assert" else test)
        finding = etree.SubElement(guard, "finding", kind=kind, role=part.get("role") or rule.get("role") or "error")
        location = etree.SubElement(finding, f"{{{XSL}}}attribute", name="location")
        location.set("select", "path(.)")
        _message(finding, part)


def _message(target: etree._Element, source: etree._Element) -> None:
    _text(target, source.text)
    for child in source:
        kind = etree.QName(child).localname
        if kind == "value-of":
            etree.SubElement(target, f"{{{XSL}}}value-of", select=child.get("select", ""), separator=" ")
        elif kind == "name":
            etree.SubElement(target, f"{{{XSL}}}value-of", select=f"name({child.get('path') or '.'})")
        else:
            _message(target, child)
        _text(target, child.tail)


def _text(target: etree._Element, text: str | None) -> None:
    if text:  # also a blank between two values: it keeps them apart
        etree.SubElement(target, f"{{{XSL}}}text").text = f" {' '.join(text.split())} "
