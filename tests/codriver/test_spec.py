"""Specs: the hash is canonical, refusals name the field, differences are told in words."""

from __future__ import annotations

import hashlib

import pytest

from codriver import driving
from codriver.errors import SpecError
from codriver.spec import canonical_json, check_action_spec, check_observation_spec, compare_specs, spec_hash
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

pytestmark = pytest.mark.compat
ACTION = driving.action_spec()


def small():
    spec = observation_pb2.ObservationSpec()
    spec.tensors.add(
        name="masks",
        dtype=tensor_pb2.DTYPE_UINT8,
        shape=[2, 4, 4],
        encoding=tensor_pb2.ENCODING_BIT_PLANES,
        channel_names=["road", "route"],
        palettes=[tensor_pb2.Palette(levels=b"\x00\xff"), tensor_pb2.Palette(levels=b"\x00\x78\xff")],
    )
    spec.tensors.add(
        name="state", dtype=tensor_pb2.DTYPE_FLOAT32, shape=[3], encoding=tensor_pb2.ENCODING_RAW
    )
    return spec


def test_canonical_form_is_as_documented():
    """docs/protocol.md shows this text and this hash."""
    text = (
        '{"action":{"high":["3f800000","3f800000"],"low":["bf800000","bf800000"],"names":["acceleration","steer"]},'
        '"tensors":[{"channel_names":["road","route"],"dtype":"uint8","encoding":"bit_planes","name":"masks",'
        '"palettes":["00ff","0078ff"],"shape":[2,4,4]},{"channel_names":[],"dtype":"float32","encoding":"raw",'
        '"name":"state","palettes":[],"shape":[3]}],"version":1}'
    )
    assert canonical_json(small(), ACTION) == text
    assert spec_hash(small(), ACTION) == hashlib.sha256(text.encode()).hexdigest()


def test_driving_hash_is_golden():
    assert driving.SPEC_HASH == "7cba8d82980330d8e4b38c0e4d4d9c64ed2d6da71524b32a760c310734f9510d"
    for picture in (False, True):
        spec = driving.observation_spec(picture)
        check_observation_spec(spec)
        assert spec_hash(spec, ACTION) == driving.SPEC_HASH
    check_action_spec(ACTION)


def _set(path, value):
    def change(spec):
        target, field = spec, path
        while "." in field:
            head, field = field.split(".", 1)
            name, _, index = head.partition("[")
            target = getattr(target, name)
            if index:
                target = target[int(index[:-1])]
        if isinstance(value, list):
            del getattr(target, field)[:]
            getattr(target, field).extend(value)
        else:
            setattr(target, field, value)

    return change


BAD_SPECS = [
    (_set("tensors", []), "tensors"),
    (_set("tensors[1].name", "masks"), "tensors[1].name"),
    (_set("tensors[0].name", "Bad Name"), "tensors[0].name"),
    (_set("tensors[0].name", "x" * 65), "tensors[0].name"),
    (_set("tensors[1].dtype", 0), "tensors[1].dtype"),
    (_set("tensors[1].dtype", 99), "tensors[1].dtype"),
    (_set("tensors[1].encoding", 0), "tensors[1].encoding"),
    (_set("tensors[1].encoding", 2), "tensors[1].dtype"),
    (_set("tensors[1].shape", [0]), "tensors[1].shape"),
    (_set("tensors[1].shape", [1] * 9), "tensors[1].shape"),
    (_set("tensors[1].shape", [2**31, 2**31]), "tensors[1].shape"),
    (_set("tensors[1].channel_names", ["a"]), "tensors[1].channel_names"),
    (_set("tensors[1].channel_names", ["a", 'b"', "c"]), "tensors[1].channel_names[1]"),
    (_set("tensors[0].palettes", []), "tensors[0].palettes"),
    (_set("tensors[0].palettes[1].levels", b"\x01"), "tensors[0].palettes[1]"),
    (_set("tensors[0].palettes[1].levels", b"\x01\x02\x01"), "tensors[0].palettes[1]"),
    (_set("tensors[0].shape", [2, 4]), "tensors[0].shape"),
    (_set("tensors[0].encoding", 3), "tensors[0].shape"),
    (_set("tensors[0].encoding", 1), "tensors[0].palettes"),
]


@pytest.mark.parametrize(("change", "field"), BAD_SPECS, ids=[field for _, field in BAD_SPECS])
def test_bad_specs_are_refused_at_the_field(change, field):
    spec = small()
    change(spec)
    with pytest.raises(SpecError) as caught:
        check_observation_spec(spec)
    assert f"observation_spec.{field}" in [violation.field for violation in caught.value.violations]
    assert "\n" not in str(caught.value)


def test_only_optional_tensors_is_no_spec():
    spec = small()
    for tensor in spec.tensors:
        tensor.optional = True
    with pytest.raises(SpecError, match="all optional"):
        check_observation_spec(spec)


@pytest.mark.parametrize(
    ("names", "low", "high", "field"),
    [
        ([], [], [], "names"),
        (["a", "a"], [0, 0], [1, 1], "names[1]"),
        (["A"], [0], [1], "names[0]"),
        (["a"], [], [1], "low"),
        (["a"], [0], [1, 2], "high"),
        (["a"], [1], [1], "low[0]"),
        (["a"], [float("nan")], [1], "low[0]"),
    ],
)
def test_bad_action_specs(names, low, high, field):
    with pytest.raises(SpecError) as caught:
        check_action_spec(action_pb2.ActionSpec(names=names, low=low, high=high))
    assert f"action_spec.{field}" in [violation.field for violation in caught.value.violations]


CHANGES = [
    (
        _set("tensors[0].palettes[1].levels", b"\x00\x50\xff"),
        "observation_spec.tensors[0].palettes[1]",
        "[0, 80, 255]",
    ),
    (_set("tensors[0].shape", [2, 8, 8]), "observation_spec.tensors[0].shape", "[2, 8, 8]"),
    (_set("tensors[1].dtype", 3), "observation_spec.tensors[1].dtype", "int32; the policy expects float32"),
    (_set("tensors[1].name", "speed"), "observation_spec.tensors", "lacks the tensor 'state'"),
    (_set("tensors[1].optional", True), "observation_spec.tensors", "lacks the tensor 'state'"),
    (
        _set("tensors[0].channel_names", ["route", "road"]),
        "observation_spec.tensors[0].channel_names[0]",
        "route",
    ),
]


@pytest.mark.parametrize(("change", "field", "words"), CHANGES)
def test_differences_in_words(change, field, words):
    spec = small()
    change(spec)
    found = compare_specs(spec, ACTION, small(), ACTION)
    assert any(violation.field == field and words in violation.description for violation in found)
    assert spec_hash(spec, ACTION) != spec_hash(small(), ACTION)


def test_order_actions_and_optional_tensors():
    swapped = observation_pb2.ObservationSpec(tensors=reversed(small().tensors))
    assert "in the order state, masks" in compare_specs(swapped, ACTION, small(), ACTION)[0].description
    narrow = action_pb2.ActionSpec(names=ACTION.names, low=[0, -1], high=[1, 1])
    assert compare_specs(small(), narrow, small(), ACTION)[0].field == "action_spec.low"
    with_picture = small()
    with_picture.tensors.add(name="picture", dtype=1, shape=[8, 8, 3], encoding=3, optional=True)
    assert compare_specs(with_picture, ACTION, small(), ACTION) == []
    extra = small()
    extra.tensors.add(name="speed", dtype=2, encoding=1)
    assert "make it optional" in compare_specs(extra, ACTION, small(), ACTION)[0].description


def test_the_protocol_book_tells_the_truth():
    """Hashes and error tables of docs/protocol.md are those of the code."""
    from pathlib import Path

    book = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
    assert spec_hash(small(), ACTION) in book and driving.SPEC_HASH in book
    assert canonical_json(small(), ACTION) in book.replace("\n", "")
    for prefix, enum in (
        ("FRAME_ERROR_REASON_", action_pb2.FrameErrorReason),
        ("ACTION_STATUS_", action_pb2.ActionStatus),
        ("STEP_KIND_", observation_pb2.StepKind),
    ):
        for name in [value.name for value in enum.DESCRIPTOR.values]:
            assert name.endswith("UNSPECIFIED") or f"| `{name[len(prefix) :]}` |" in book, name


@pytest.mark.parametrize("field", ["channel_names", "palettes"])
def test_a_flood_of_channels_is_one_violation(field):
    spec = small()
    if field == "palettes":
        spec.tensors[0].palettes.extend([tensor_pb2.Palette()] * 5000)
    else:
        spec.tensors[0].channel_names.extend(["\u00e9"] * 5000)
    with pytest.raises(SpecError) as caught:
        check_observation_spec(spec)
    assert [v.field for v in caught.value.violations] == [f"observation_spec.tensors[0].{field}"]
