import math

import pytest
import torch

from feedback_service.finetune.clip.loss import anchors_loss, batch_loss, contrastive_loss

_X, _Y = [1.0, 0.0], [0.0, 1.0]


def test_anchors_loss_by_hand():
    image = torch.tensor([_X])
    text = torch.tensor([[_Y, _Y], [_X, _Y]])  # two contexts of two anchors
    loss = anchors_loss(image, text, torch.tensor([1]), torch.tensor([0]), torch.tensor(2.0))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)))
    wrong = anchors_loss(image, text, torch.tensor([1]), torch.tensor([1]), torch.tensor(2.0))
    assert wrong.item() == pytest.approx(math.log(1 + math.exp(2.0)))


def test_anchors_loss_of_a_perfect_model_vanishes_where_labels_repeat():
    image, text = torch.tensor([_X, _X, _Y]), torch.tensor([[_X, _Y]])
    loss = anchors_loss(
        image, text, torch.zeros(3, dtype=torch.long), torch.tensor([0, 0, 1]), torch.tensor(100.0)
    )
    assert loss.item() < 1e-6


def test_contrastive_loss_by_hand():
    vectors = torch.tensor([_X, _Y])
    loss = contrastive_loss(vectors, vectors, torch.tensor(2.0))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)))


def test_the_plain_contrastive_loss_takes_equal_captions_for_wrong_ones():
    vectors = torch.tensor([_X, _X, _X, _Y])  # three pictures of one caption: a perfect model
    loss = contrastive_loss(vectors, vectors, torch.tensor(100.0))
    assert loss.item() == pytest.approx(3 / 4 * math.log(3), abs=1e-5)


@pytest.mark.parametrize("kind", ["anchors", "contrastive"])
def test_only_captions_that_a_batch_needs_are_embedded_and_nothing_changes(kind):
    torch.manual_seed(0)
    table = torch.nn.functional.normalize(torch.randn(24, 30, 8), dim=-1)
    tokens = torch.arange(720).view(24, 30, 1)
    asked = []

    def text_features(part):
        asked.extend(part[:, 0].tolist())
        return table.flatten(0, 1)[part[:, 0]]

    image = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    context, anchor = torch.tensor([3, 3, 20, 7, 3]), torch.tensor([0, 4, 29, 4, 4])
    scale = torch.tensor(5.0)
    loss = batch_loss(kind, image, text_features, tokens, context, anchor, scale)
    if kind == "anchors":
        expected = anchors_loss(image, table, context, anchor, scale)
        assert len(asked) == 3 * 30
    else:
        expected = contrastive_loss(image, table[context, anchor], scale)
        assert sorted(asked) == [90, 94, 214, 629]
    assert loss.item() == pytest.approx(expected.item())
