"""pydantic models as payloads: built again by their validators, with what was set and what was not."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import pytest

from django_durable.codec import decode, encode, register, register_annotations, round_trip
from django_durable.exceptions import CodecError

pydantic = pytest.importorskip("pydantic")


@register
class Approval(pydantic.BaseModel):
    by: str
    amount: Decimal = Decimal(0)
    at: datetime | None = None


@register
class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    user_id: int = pydantic.Field(alias="userId")
    inner: Approval | None = pydantic.Field(default=None, validation_alias=pydantic.AliasChoices("a", "b"))


@register
class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    known: int


@register
class Ids(pydantic.RootModel[list[int]]):
    pass


@register
class Shouting(pydantic.BaseModel):
    word: str

    @pydantic.field_validator("word")
    @classmethod
    def shout(cls, word):
        return word + "!"


class Size(Enum):
    S = 1


@dataclass
class Box:
    size: Size


class Crate(pydantic.BaseModel):
    box: Box


class Plain(pydantic.BaseModel):
    x: int


class Hidden(pydantic.BaseModel):
    secret: pydantic.SecretStr


@pytest.mark.parametrize(
    "value",
    [
        Approval(by="ann", amount="1.50", at="2024-01-01T00:00:00Z"),
        Approval(by="ann", at=datetime(2024, 1, 1, 2, 3, 4, 5, tzinfo=UTC)),
        Aliased(userId=3, a=Approval(by="ann")),
        Open(known=1, other=(1, 2)),
        Ids([1, 2]),
        {"nested": [(Approval(by="ann"),), Ids([])]},
    ],
    ids=repr,
)
def test_model_comes_back_equal_and_of_the_same_type(value):
    text = encode(value)
    back = decode(text)
    assert (type(back), back) == (type(value), value)
    assert encode(back) == text


def test_types_inside_are_exact():
    back = round_trip(Open(known=1, other=(1, Decimal("1.0"))))
    assert repr(back.other) == "(1, Decimal('1.0'))"


def test_unset_fields_stay_unset():
    back = round_trip(Approval(by="ann"))
    assert back.model_dump(exclude_unset=True) == {"by": "ann"}


def test_annotations_register_models_and_what_their_fields_name():
    def fn(crate: Crate): ...

    register_annotations(fn)
    assert round_trip(Crate(box=Box(Size.S))) == Crate(box=Box(Size.S))


@pytest.mark.parametrize(
    ("value", "path", "advice"),
    [
        (Approval.model_construct(amount=Decimal(1)), "", "incomplete"),
        (Shouting(word="a"), "", "comes back changed"),
        (Plain(x=1), "", "@register_type"),
        ([register(Hidden)(secret="x")], "[0].secret", "plain data"),
    ],
    ids=["incomplete", "changes its input", "unregistered", "field of an unknown type"],
)
def test_refused_with_place_and_advice(value, path, advice):
    with pytest.raises(CodecError) as caught:
        encode(value)
    assert caught.value.path == path
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[1,{"$object":["tests.unit.test_codec_pydantic.Approval",{"by":{}}]}]',
        '[1,{"$object":["tests.unit.test_codec_pydantic.Approval",{"by":"a","x":1}]}]',
        '[1,{"$object":["tests.unit.test_codec_pydantic.Approval",{"by":"a"},3]}]',
        '[1,{"$object":["tests.unit.test_codec_pydantic.Ids",{}]}]',
    ],
)
def test_text_that_does_not_fit_the_model_is_a_codec_error(text):
    with pytest.raises(CodecError):
        decode(text)
