import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codriver.coaching.vocabulary import lateral_index, longitudinal_index
from feedback_service.coaches.parse import VlmControl, parse_action
from feedback_service.coaches.prompt import answer_text
from feedback_service.finetune.vlm.answers import round_in_class
from feedback_service.finetune.vlm.command import main
from feedback_service.finetune.vlm.encoding import IGNORED, Encoder
from feedback_service.finetune.vlm.loss import ANSWER_WORDS, AnswerLoss
from feedback_service.finetune.vlm.rows import load_rows
from feedback_service.finetune.vlm.sampling import BalancedSampler
from feedback_service.finetune.vlm.small import build_small
from feedback_service.finetune.vlm.words import VALUES
from feedback_service.models.vlm.chat import chat_text
from feedback_service.models.vlm.generator import VlmGenerator
from feedback_service.models.vlm.loading import load_checkpoint


@pytest.fixture(scope="module")
def small():
    return build_small(0)


def test_a_handful_of_rows_is_learned_by_heart_in_well_formed_json(run, drives):
    rows = load_rows([drives])
    generator = VlmGenerator(run / "model")
    numbers = range(len(rows))
    texts, errors = generator.answer([rows.picture(n) for n in numbers], [rows.prompt(n) for n in numbers])
    assert not any(errors)
    controls = [parse_action(text) for text in texts]
    assert all(isinstance(control, VlmControl) for control in controls)
    assert all(list(json.loads(text)) == ["throttle", "steer", "brake"] for text in texts)
    said = np.array(controls)
    assert (longitudinal_index(said) == rows.longitudinal).all()
    assert (lateral_index(said) == rows.lateral).all()


def test_a_run_holds_card_report_log_plot_and_figures(run):
    card = json.loads((run / "model" / "card.json").read_text())
    assert card == json.loads((run / "report.json").read_text())
    assert card["name"] == "handful" and card["family"] == "fast_vlm"
    assert card["training"]["steps"] == 120 and card["training"]["data"][0]["name"] == "handful"
    assert card["measured"]["vlm_parse_rate"] == card["measured"]["vlm_lateral_recall"] == 1
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [50, 100] and log[1]["loss"] < log[0]["loss"]
    assert (run / "training.png").read_bytes().startswith(b"\x89PNG")
    assert {path.suffix for path in run.rglob("*") if path.is_file()} <= {
        ".json",
        ".jsonl",
        ".jinja",
        ".png",
        ".safetensors",
    }


def test_a_run_is_continued_where_it_stopped(run, drives, capsys, tmp_path):
    arguments = ["--data", str(drives), "--out", str(tmp_path / "run"), "--batch", "2", "--json"]
    assert main([*arguments, "--steps", "2"]) == 0
    before = load_file(str(tmp_path / "run" / "state" / "state.safetensors"))
    assert main([*arguments, "--steps", "3"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--steps", "3", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["steps"] == 3
    after = load_file(str(tmp_path / "run" / "state" / "state.safetensors"))
    name = "value/lm_head.weight" if "value/lm_head.weight" in after else next(iter(after))
    assert before.keys() == after.keys()
    assert any((before[key] != after[key]).any() for key in (name, *after))


def test_another_checkpoint_is_trained_on_its_own_words(checkpoint, drives, tmp_path):
    out = tmp_path / "run"
    arguments = ["--data", str(drives), "--out", str(out), "--batch", "3", "--steps", "2", "--rate", "1e-3"]
    assert main([*arguments, "--model", str(checkpoint("qwen2_5_vl"))]) == 0
    card = json.loads((out / "model" / "card.json").read_text())
    assert card["family"] == "qwen2_5_vl" and card["training"]["model"] == "qwen2_5_vl"
    VlmGenerator(out / "model")


@pytest.mark.parametrize("family", ["idefics3", "internvl", "llava", "qwen2_5_vl", "smolvlm"])
def test_only_the_answer_and_its_end_are_labels(family, checkpoint, drives):
    model, processor = load_checkpoint(checkpoint(family), torch.float32)
    rows = load_rows([drives])
    inputs, labels = Encoder(processor).batch(rows, np.arange(3))
    end = processor.tokenizer.eos_token_id
    for row in range(3):
        words = labels[row][labels[row] != IGNORED].tolist()
        assert words[-1] == end
        assert processor.tokenizer.decode(words[:-1]) == answer_text(
            round_in_class(rows.control[row : row + 1])[0]
        )
        assert (inputs["input_ids"][row][labels[row] != IGNORED] == labels[row][labels[row] != IGNORED]).all()
    with torch.no_grad():
        assert torch.isfinite(model(**inputs, labels=labels).loss)


def test_the_fast_way_to_pictures_is_the_processors_way(small, drives):
    _, processor = small
    rows = load_rows([drives])
    fast, labels = Encoder(processor).batch(rows, np.arange(3))
    slow_encoder = Encoder(processor)
    slow_encoder._plain = False
    slow, slow_labels = slow_encoder.batch(rows, np.arange(3))
    assert (fast["input_ids"] == slow["input_ids"]).all() and (labels == slow_labels).all()
    torch.testing.assert_close(fast["pixel_values"], slow["pixel_values"], atol=1e-5, rtol=0)


def test_a_prompt_is_short_and_an_answer_eight_words(small, drives):
    _, processor = small
    rows = load_rows([drives])
    words = processor.tokenizer
    assert len(words(chat_text(processor, rows.prompt(0)))["input_ids"]) < 30
    for control in ((0, -0.12, 0.05), (1, 1, 0), (0, -1, 1)):
        ids = words(answer_text(control))["input_ids"]
        assert len(ids) == ANSWER_WORDS - 1 and words.decode(ids) == answer_text(control)
    for text in ("Wie weiter, 3.20 m?", "\u9053\u8def", "speed:  0.451", rows.prompt(1)):
        assert words.decode(words(text)["input_ids"]) == text


def test_answers_are_rounded_inside_their_class():
    random = np.random.default_rng(0)
    control = random.uniform([0, -1, 0], [1, 1, 1], (4000, 3)).astype(np.float32)
    control[::2, 2] = 0
    control[:6] = [
        [0.8049, 0, 0],
        [0, 0.0499, 0],
        [0, -0.0501, 0.0501],
        [0, 0.304, 0.5004],
        [0.3004, 0, 0],
        [0, 0, 0],
    ]
    rounded = round_in_class(control)
    assert (longitudinal_index(rounded) == longitudinal_index(control)).all()
    assert (lateral_index(rounded) == lateral_index(control)).all()
    assert np.abs(rounded - control).max() < 0.0151
    assert np.allclose(rounded, np.round(rounded, 2), atol=1e-6)


def test_rare_classes_are_drawn_more_often(drives):
    rows = load_rows([drives])
    rows = rows.take(np.r_[np.zeros(90, int), np.arange(len(rows))])
    natural, balanced = BalancedSampler(rows, 0.0, 0), BalancedSampler(rows, 0.6, 0)
    assert natural.shares()[0].max() > balanced.shares()[0].max()
    assert balanced.shares()[0].sum() == pytest.approx(1) and balanced.shares()[1].sum() == pytest.approx(1)
    again = BalancedSampler(rows, 0.6, 0)
    again.skip(10)
    assert (np.r_[balanced.draw(10), balanced.draw(5)][10:] == again.draw(5)).all()


def test_the_loss_wants_the_right_class_to_have_the_likeliest_word(small):
    words = small[1].tokenizer
    loss = AnswerLoss(words, np.full(6, 1 / 6), np.full(5, 1 / 5))

    def answer(control):
        return [*words(answer_text(control))["input_ids"], words.eos_token_id]

    target = torch.tensor([answer((0, 0.04, 0.04))])
    likely = torch.full((1, ANSWER_WORDS, len(words)), -4.0)
    likely.scatter_(2, target[..., None], 9.0)
    right = loss(likely, target)[1]
    assert right["shape"] < 0.01 and right["throttle class"] < 0.2 and right["brake class"] < 0.2
    wrong = likely.clone()
    wrong[0, 1, words.convert_tokens_to_ids(" 0.40")] = 11.0
    assert loss(wrong, target)[1]["throttle class"] > right["throttle class"] + 1
    assert len(VALUES) == 201


def test_conversations_are_what_other_trainers_read(drives, tmp_path, capsys):
    out = tmp_path / "conversations"
    arguments = ["--data", str(drives), "--export-conversations", str(out), "--every", "2", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["conversations"] == 3
    records = json.loads((out / "conversations.json").read_text())
    rows = load_rows([drives])
    assert len({record["id"] for record in records}) == 3
    for number, record in enumerate(records):
        human, gpt = record["conversations"]
        assert human == {"from": "human", "value": "<image>\n" + rows.prompt(2 * number)}
        assert gpt["from"] == "gpt" and isinstance(parse_action(gpt["value"]), VlmControl)
        assert (out / record["image"]).read_bytes() == rows.picture(2 * number)
    info = json.loads((out / "dataset_info.json").read_text())["codriver_drives"]
    assert info["file_name"] == "conversations.json" and info["formatting"] == "sharegpt"
    assert main(arguments) == 2
    assert "not empty" in capsys.readouterr().err


def test_data_that_cannot_be_used_is_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")]) == 2
    assert "nothing" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert (
        main(["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--model", str(tmp_path / "empty")])
        == 2
    )
    assert len(capsys.readouterr().err.splitlines()) == 1
