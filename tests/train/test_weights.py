"""A checkpoint is given to the model that it belongs to, and to no other."""

import numpy as np
import pytest
import torch
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_ssr.errors import UserError
from recbole_ssr.train.weights import TRAINING, check_parts, load_weights

CONFIG = {"model": "Small", "dataset": "tiny"}
DATA = {"users or items": "a", "split": "b", "item features": None}


class Small(AbstractRecommender):
    """A table that is trained, and a matrix that was fitted."""

    other_parameter_name = ("fitted",)

    def __init__(self, width=3):
        super().__init__()
        self.table = torch.nn.Embedding(4, width)
        self.register_buffer("borders", torch.full((2,), torch.nan))  # of no interval
        self.fitted = np.eye(2)


def state_of(model):
    return {"config": {**CONFIG, "seed": 1}, "data": dict(DATA), "state_dict": model.state_dict(),
            "other_parameter": model.other_parameter()}


def test_parameters_and_other_parameters_are_taken_over():
    trained, model = Small(), Small()
    trained.fitted = np.full((2, 2), 7.0)
    load_weights(model, state_of(trained), "best.pth", CONFIG, DATA)
    assert torch.equal(model.table.weight, trained.table.weight)
    assert (model.fitted == 7).all()


def changed(key, value):
    return lambda state: state.update({key: value})


def without(part, name):
    return lambda state: state[part].pop(name)


def broken(part, name, value):
    def change(state):
        state[part] = {**state[part], name: value}

    return change


@pytest.mark.parametrize("change, words", [
    (lambda state: state.clear(), "lacks 'state_dict' .it has nothing.*start a new run"),
    (changed("state_dict", [1]), "'state_dict' of checkpoint best.pth is a list"),
    (changed("config", CONFIG | {"model": "BPR"}), "of the model BPR, .* name Small"),
    (changed("config", CONFIG | {"dataset": "huge"}), "of the dataset huge, .* name tiny"),
    (changed("data", DATA | {"split": "x"}), "other split than those of tiny now. Did the data"),
    (changed("data", DATA | {"users or items": "x", "item features": "x"}),
     "other users or items and item features than"),
    (changed("state_dict", Small(5).state_dict()),
     r"table.weight has shape .4, 5. instead of .4, 3"),
    (without("state_dict", "table.weight"), "it lacks table.weight"),
    (broken("state_dict", "more", torch.ones(1)), "it has more, which the model does not"),
    (broken("state_dict", "table.weight", 3), "its table.weight has shape .. instead of"),
    (broken("state_dict", "table.weight", torch.full((4, 3), torch.inf)), "table.weight .*finite"),
    (changed("other_parameter", {}), "it lacks fitted"),
    (changed("other_parameter", 7), "is a int: that is not"),
    (broken("other_parameter", "fitted", np.full((2, 2), np.nan)), "fitted that are not finite"),
])
def test_what_does_not_belong_is_refused_in_one_line(change, words):
    state = state_of(Small())
    change(state)
    with pytest.raises(UserError, match=words) as caught:
        load_weights(Small(), state, "best.pth", CONFIG, DATA)
    assert "\n" not in str(caught.value)


def test_one_wrong_number_among_the_parameters_is_found():
    model = Small()
    state = state_of(model)
    state["state_dict"]["table.weight"][2, 1] = torch.nan
    with pytest.raises(UserError, match="table.weight that are not finite"):
        load_weights(Small(), state, "best.pth", CONFIG)


def test_a_checkpoint_without_hashes_is_of_an_older_version_and_fits():
    state = state_of(Small())
    del state["data"], state["config"]
    load_weights(Small(), state, "best.pth", CONFIG, DATA)


@pytest.mark.parametrize("part", TRAINING)
def test_what_a_training_cannot_go_on_without(part):
    state = {"optimizer": {}, "history": [], "stopped": False, "epoch": 1, "cur_step": 0,
             "best_valid_score": 0.5, "best_valid_result": None, "random_state": {}}
    check_parts(state, TRAINING, "last.pth")
    with pytest.raises(UserError, match=f"{part!r} of checkpoint last.pth is a bytes"):
        check_parts(state | {part: b""}, TRAINING, "last.pth")
    del state[part]
    with pytest.raises(UserError, match=f"last.pth lacks {part!r}.*start a new run"):
        check_parts(state, TRAINING, "last.pth")
