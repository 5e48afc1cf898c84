import json

import pytest

from codriver.coaching.vocabulary import all_captions
from feedback_service.finetune.clip.start import small_card
from feedback_service.models.clip.card import CardError, read_card, write_card
from feedback_service.models.clip.network import build
from feedback_service.models.clip.words import WordTokenizer, caption_words


@pytest.fixture
def form(tmp_path):
    write_card(tmp_path, small_card("small", 96, licence="Apache-2.0"))
    return json.loads((tmp_path / "card.json").read_text())


def test_a_card_is_read_as_it_was_written(form, tmp_path):
    card = read_card(tmp_path)
    assert card.as_json() == form
    assert card.facts == {"licence": "Apache-2.0"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format", "codriver-clip/9", "codriver-clip/9"),
        ("open_clip", None, "open_clip"),
        ("open_clip", "hf-hub:someone/something", "open_clip"),
        ("open_clip", {"embed_dim": 8}, "vision_cfg"),
        ("image_size_px", "96", "image_size_px"),
        ("image_size_px", True, "image_size_px"),
        ("image_size_px", 10**6, "image_size_px"),
        ("interpolation", "magic", "interpolation"),
        ("mean", [0, 0], "mean"),
        ("std", [1, 1, 0], "std"),
        ("std", 3, "damaged"),
        ("vocabulary", ["a", "a"], "vocabulary"),
        ("weights", "../other.safetensors", "weights"),
    ],
)
def test_a_field_that_is_not_valid_is_named(form, tmp_path, field, value, words):
    (tmp_path / "card.json").write_text(json.dumps({**form, field: value}))
    with pytest.raises(CardError, match=words):
        read_card(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{}"])
def test_what_is_no_card(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(CardError, match="card.json"):
        read_card(tmp_path)


def test_a_missing_card(tmp_path):
    with pytest.raises(CardError, match="there is no card.json"):
        read_card(tmp_path)


@pytest.mark.parametrize("change", [{"layers": "many"}, {"not_an_option": 1}])
def test_a_configuration_that_open_clip_refuses(form, tmp_path, change):
    form["open_clip"]["vision_cfg"].update(change)
    (tmp_path / "card.json").write_text(json.dumps(form))
    with pytest.raises(CardError, match="open_clip"):
        build(read_card(tmp_path))


def test_the_captions_words_are_39_and_every_caption_has_tokens_of_its_own():
    words = caption_words()
    assert len(words) == 39 and {"turn", "gently", ".", ":"} <= set(words)
    tokens = WordTokenizer(words, 32)(all_captions())
    assert tokens.shape == (720, 32) and len(tokens.unique(dim=0)) == 720
    assert (tokens == 40).sum(dim=1).eq(1).all() and int(tokens.max()) == 40


def test_words_that_the_model_does_not_know():
    tokenizer = WordTokenizer(caption_words(), 32)
    with pytest.raises(CardError, match="flying"):
        tokenizer(["The car is flying."])
    with pytest.raises(CardError, match="too short"):
        WordTokenizer(caption_words(), 8)(all_captions()[:1])
