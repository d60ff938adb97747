"""The schema and the page about certificates say what the checker does."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from certimetric.certificate import decode, verify
from oracles.certificates import Certificate, exact_oracle, make_certificate
from oracles.tiny import TinyCase, tiny_cases

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA = json.loads((DOCS / "certificate.schema.json").read_text(encoding="utf-8"))
PAGE = (DOCS / "certificates.md").read_text(encoding="utf-8")

ROWS = [[4.0, 1.0], [0.0, 0.0], [0.0, 2.0], [9.0, 9.0]]
LABELS = [1, 0, 0, 1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def fits(certificate: object) -> bool:
    return Draft202012Validator(SCHEMA).is_valid(certificate)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@given(tiny_cases())
def test_certificates_fit_the_schema(case: TinyCase) -> None:
    for label in (None, case.labels[0], 9):
        Draft202012Validator(SCHEMA).validate(
            json.loads(json.dumps(make_certificate(case, case.points[0], label)))
        )


@pytest.mark.parametrize("label", ["text", 1, 0.5, True])
def test_labels_of_every_kind_fit_the_schema(label: object) -> None:
    certificate = make_certificate(TinyCase(ROWS, LABELS, None, []), [1.0, 1.0])
    assert fits(certificate | {"label": label, "predicted": label})


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"format": "certificate"},
        {"norm": 1},
        {"training": "0" * 63},
        {"metric": "cosine"},
        {"n_neighbors": 0},
        {"rule": "unanimity"},
        {"index": -1},
        {"point": "é"},
        {"point": None},
        {"label": None},
        {"label": [0]},
        {"lower": -1.0},
        {"upper": "1"},
        {"adversarial": 0},
        {"witnesses": None},
        {"witnesses": [[[0]]]},
        {"witnesses": [[[0], [1.0], [1.0]]]},
        {"witnesses": [[[-1], [1.0]]]},
        {"witnesses": [[[0], [0.0]]]},
        {"witnesses": [[[], []]]},
        {"tree": []},
    ],
)
def test_what_does_not_fit_the_schema_is_rejected_by_the_checker_too(damage: Certificate) -> None:
    certificate = make_certificate(TinyCase(ROWS, LABELS, None, []), [1.0, 1.0]) | damage
    assert not fits(certificate)
    assert not verify(certificate, ROWS, LABELS)


def test_every_field_is_required() -> None:
    certificate = make_certificate(TinyCase(ROWS, LABELS, None, []), [1.0, 1.0])
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == set(certificate)
    for name in certificate:
        assert f"`{name}`" in PAGE
        assert not fits({key: value for key, value in certificate.items() if key != name})


def test_the_example_of_the_page_fits_and_is_accepted() -> None:
    (text,) = blocks("json")
    assert fits(json.loads(text))
    verdict = verify(text, ROWS, LABELS)
    assert verdict, verdict.reason
    assert decode(json.loads(text)["point"]).tolist() == [1.0, 1.0]


@given(tiny_cases(matrices=True))
def test_the_checker_of_the_page_agrees_about_the_lower_end(case: TinyCase) -> None:
    names: dict[str, object] = {}
    exec(blocks("python")[-1], names)
    certificate = make_certificate(case, case.points[0])
    M = exact_oracle(case).matrix
    for damage in ({}, {"lower": None}, {"lower": 1e9}, {"witnesses": certificate["witnesses"][1:]}):
        claim = certificate | damage
        if claim["lower"] == 0:
            continue
        proven = names["lower_end_is_proven"](claim, case.points[0], case.rows, case.labels, M)
        others_end = {"upper": None, "adversarial": None}
        metric = {"metric": case.components, "matrix": case.matrix}
        assert proven == verify(claim | others_end, case.rows, case.labels, **metric).accepted
