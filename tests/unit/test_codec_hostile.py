"""Reading text that we did not write: CodecError, whatever it holds, and nothing is imported."""

import json
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_durable import codec
from django_durable.codec import decode, fingerprint
from django_durable.exceptions import CodecError
from tests.unit.payloads import Line

HOSTILE = [
    "",
    "null",
    "[]",
    "[1]",
    "[1,2,3]",
    "[2,null]",
    "[true,1]",
    "[1.0,1]",
    '["1",1]',
    '{"1":1}',
    "[1,NaN]",
    "[1,-Infinity]",
    "[1,1e999]",
    "[1,[-1e999]]",
    "[1," + "9" * 5000 + "]",
    "[" * 100_000,
    "[1," + "[" * 100_000 + "]" * 100_001,
    "[1," + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "[1," + '{"$tuple":[' * 400 + "]}" * 400 + "]",
    '[1,{"$nope":1}]',
    '[1,{"$":1}]',
    '[1,{"$tuple":1}]',
    '[1,{"$tuple":{"a":1}}]',
    '[1,{"$set":[[]]}]',
    '[1,{"$frozenset":[{}]}]',
    '[1,{"$dict":1}]',
    '[1,{"$dict":[[1,2]]}]',
    '[1,{"$dict":[["a"]]}]',
    '[1,{"$dict":[[[],1]]}]',
    '[1,{"$datetime":5}]',
    '[1,{"$datetime":"x"}]',
    '[1,{"$datetime":["2024-01-01",7,null]}]',
    '[1,{"$datetime":["2024-01-01",0,"../../etc/passwd"]}]',
    '[1,{"$datetime":["2024-01-01",0,"/etc/localtime"]}]',
    '[1,{"$datetime":["2024-01-01",0,"os.path"]}]',
    '[1,{"$datetime":["2024-01-01",0,"Nowhere/At_All"]}]',
    '[1,{"$datetime":["2024-01-01",0,{}]}]',
    '[1,{"$time":["01:00"]}]',
    '[1,{"$date":null}]',
    '[1,{"$timedelta":[1e308,0,0]}]',
    '[1,{"$timedelta":["a","b","c"]}]',
    '[1,{"$decimal":"NaN"}]',
    '[1,{"$decimal":"x"}]',
    '[1,{"$decimal":1.5}]',
    '[1,{"$decimal":"1E+99999999999999999999999"}]',
    '[1,{"$uuid":1}]',
    '[1,{"$uuid":"x"}]',
    '[1,{"$bytes":"*"}]',
    '[1,{"$bytes":"\\u00e9"}]',
    '[1,{"$str":"/w=="}]',
    '[1,{"$enum":["os.system","x"]}]',
    '[1,{"$enum":"x"}]',
    '[1,{"$enum":["tests.unit.payloads.Colour","BLUE"]}]',
    '[1,{"$enum":["tests.unit.payloads.Colour","__class__"]}]',
    '[1,{"$enum":["tests.unit.payloads.Access",64]}]',
    '[1,{"$enum":["orders.Order","x"]}]',
    '[1,{"$object":["subprocess.Popen",{"args":"x"}]}]',
    '[1,{"$object":[["x"],{}]}]',
    '[1,{"$object":["orders.Order"]}]',
    '[1,{"$object":["orders.Order",[]]}]',
    '[1,{"$object":["orders.Order",{}]}]',
    '[1,{"$object":["orders.Order",{"lines":[],"gone":1}]}]',
    '[1,{"$object":["tests.unit.payloads.Colour",{}]}]',
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_hostile_text_is_a_codec_error(text):
    with pytest.raises(CodecError):
        decode(text)


@pytest.mark.parametrize("text", [None, 3, b"\xff\xfe\x00", [1, 2]], ids=repr)
def test_what_is_no_text_is_a_codec_error(text):
    with pytest.raises(CodecError):
        decode(text)


@pytest.mark.parametrize("name", ["antigravity", "this", "wsgiref.simple_server.WSGIServer"])
def test_decoding_imports_nothing(name):
    before = set(sys.modules)
    for tag in ("$object", "$enum"):
        with pytest.raises(CodecError):
            decode(json.dumps([1, {tag: [name, {}]}]))
    assert set(sys.modules) == before


tags = st.sampled_from(
    [
        "$tuple",
        "$set",
        "$frozenset",
        "$dict",
        "$str",
        "$bytes",
        "$uuid",
        "$decimal",
        "$datetime",
        "$date",
        "$time",
        "$timedelta",
        "$enum",
        "$object",
        "$",
        "$x",
    ]
)
names = st.sampled_from(
    [
        "orders.Order",
        *(f"{Line.__module__}.{name}" for name in ("Colour", "Access", "Point", "Line")),
    ]
)
hostile_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | names,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(tags, inner, min_size=1, max_size=1)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["lines", "by", "x", "root"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.text() | hostile_trees.map(lambda tree: json.dumps([1, tree])))
@settings(max_examples=300)
def test_only_codec_errors_escape(text):
    for read in (decode, fingerprint, codec.decode_error):
        with suppress(CodecError):
            read(text)
