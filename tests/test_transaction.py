"""An iteration is one transaction: a failed one leaves weights, states and scale bit for bit."""

import copy

import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from toy_model import Toy

from spknorm.method.optim import lists, transaction
from spknorm.method.optim.ascent import compare_gradients, compare_steps
from spknorm.method.optim.transaction import HalfMovedError, ShortOfMemoryError
from spknorm.schema import OptimizerConfig

UPDATES = ["literal", "relative", "adaptive", "reversal"]
STRATEGIES = ["TAP", "SNP"]
ADAM = OptimizerConfig(torch_optim_name="Adam", lr=1e-3)


def method_of(update):
    more = {"ascent_lr": 1e-5} if update == "adaptive" else {}
    if update == "relative":
        more["ascent_direction"] = "preconditioned"
    return {"update": update, **more}


def everything(toy, update):
    return copy.deepcopy((toy.values(), update.state_dict()))


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def states_of(found):
    """Leave out the ascent's rate, which is set anew at every step."""
    values, optimizers = found
    return values, {
        name: state["state"] if name == "ascent" else state for name, state in optimizers.items()
    }


def passes_of(toy, *, emotion=1.0, speaker=1.0, speaker_error=None):
    def emotion_pass():
        (emotion * toy.emotion_loss()).backward()

    def speaker_pass(coefficient):
        if speaker_error is not None:
            raise speaker_error
        (speaker * toy.speaker_loss(coefficient)).backward()

    return emotion_pass, speaker_pass


@pytest.fixture(params=[(s, u) for s in STRATEGIES for u in UPDATES] + [("none", "literal")])
def make(request):
    """A function that returns a new model and its update, always the same."""
    strategy, update = request.param

    def new():
        toy = Toy(strategy)
        return toy, toy.update(method=method_of(update), optimizer=ADAM, clipping=1.0, clip="stage")

    return new


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("broken", ["emotion", "speaker", "head"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_in_any_pass_moves_nothing(make, steps, broken, number):
    toy, update = make()
    if broken != "emotion" and toy.heads.strategy == "none":
        return
    for _ in range(steps):
        toy.step(update)
    before = everything(toy, update)
    good = passes_of(toy)
    factors = {broken: number} if broken != "head" else {}
    head_passes = [good[1]]
    if broken == "head":
        head_passes.append(passes_of(toy, speaker=number)[1])
    if toy.heads.strategy == "none":
        head_passes = []
    done = update.step(*passes_of(toy, **factors), 1.0, head_passes=head_passes, measure=True)
    assert not done.finite
    assert same(states_of(everything(toy, update)), states_of(before))
    assert all(p.grad is None for group in toy.groups for p in group)


@pytest.mark.parametrize("steps", [0, 2])
def test_no_memory_in_a_pass_moves_nothing_and_the_next_step_is_as_if_it_had_not_been(make, steps):
    toy, update = make()
    if toy.heads.strategy == "none":
        return
    for _ in range(steps):
        toy.step(update)
    before = everything(toy, update)
    emotion_pass, speaker_pass = passes_of(toy)
    _, short = passes_of(toy, speaker_error=torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(torch.OutOfMemoryError):
        update.step(emotion_pass, short, 1.0, head_passes=[speaker_pass])
    assert same(states_of(everything(toy, update)), states_of(before))
    toy.step(update)
    undisturbed, other = make()
    for _ in range(steps + 1):
        undisturbed.step(other)
    assert same(states_of(everything(toy, update)), states_of(everything(undisturbed, other)))


class Short:
    """Lets an optimiser make half of its state, move some weights, and run out of memory."""

    def __init__(self, optimizer):
        self.optimizer, self.step = optimizer, optimizer.step
        optimizer.step = self

    def __call__(self):
        self.step()
        parameter = self.optimizer.param_groups[0]["params"][0]
        state = self.optimizer.state.get(parameter, {})
        for name in list(state)[1:]:
            del state[name]
        self.optimizer.step = self.step
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("name", ["emotion", "speaker", "ascent"])
def test_no_memory_within_an_optimisers_step_leaves_no_half_made_state(make, steps, name):
    toy, update = make()
    if name not in update.optimizers:
        return
    for _ in range(steps):
        toy.step(update)
    before = everything(toy, update)
    Short(update.optimizers[name])
    one_stage = toy.heads.strategy == "none" or update._method.update == "reversal"
    if one_stage and steps:  # nothing is kept, which costs nothing: the run has to end
        with pytest.raises(HalfMovedError):
            toy.step(update)
        return
    with pytest.raises(ShortOfMemoryError):
        toy.step(update)
    assert same(states_of(everything(toy, update)), states_of(before))
    assert toy.step(update).finite


@pytest.mark.parametrize("overflowing", ["emotion", "speaker"])
@pytest.mark.parametrize("update_name", UPDATES)
def test_an_fp16_overflow_of_one_stage_moves_nothing_but_the_scale(update_name, overflowing):
    toy, scaler = Toy("TAP"), GradScaler("cpu", init_scale=8.0)

    def scaled(loss):
        scaler.scale(loss).backward()

    update = toy.update(method=method_of(update_name), optimizer=ADAM, scaler=scaler)
    factors = {"emotion": 1.0, "speaker": 1.0}

    def step():
        return update.step(
            lambda: scaled(factors["emotion"] * toy.emotion_loss()),
            lambda c: scaled(factors["speaker"] * toy.speaker_loss(c)),
            1.0,
            head_passes=[lambda c: scaled(toy.speaker_loss(c))],
        )

    assert step().finite
    before, scale = everything(toy, update), scaler.state_dict()
    factors[overflowing] = 1e308
    assert not step().finite
    assert same(states_of(everything(toy, update)), states_of(before))
    assert scaler.get_scale() == scale["scale"] / 2
    factors[overflowing] = 1.0
    assert step().finite
    assert not same(everything(toy, update)[0], before[0])


@pytest.mark.parametrize("update_name", UPDATES)
def test_no_memory_in_stage_2_leaves_an_fp16_scale_that_goes_on(update_name):
    toy, scaler = Toy("TAP"), GradScaler("cpu", init_scale=8.0)
    update = toy.update(method=method_of(update_name), optimizer=ADAM, scaler=scaler)
    errors = [None, torch.OutOfMemoryError("CUDA out of memory."), None]

    def speaker_pass(coefficient):
        if errors[0] is not None:
            raise errors[0]
        scaler.scale(toy.speaker_loss(coefficient)).backward()

    def step():
        return update.step(lambda: scaler.scale(toy.emotion_loss()).backward(), speaker_pass, 1.0)

    step()
    before, scale = everything(toy, update), scaler.state_dict()
    errors.pop(0)
    with pytest.raises(torch.OutOfMemoryError):
        step()
    assert same(states_of(everything(toy, update)), states_of(before))
    assert scaler.state_dict() == scale
    errors.pop(0)
    assert step().finite


def test_only_two_stages_keep_copies(monkeypatch):
    """Strategy none and reversal cost nothing but at the first step, which makes states."""
    kept = []
    keep = transaction.Transaction._keep
    monkeypatch.setattr(
        transaction.Transaction, "_keep", lambda self, o: (kept.append(o), keep(self, o))
    )
    for strategy, update_name, counts in (
        ("none", "literal", [1, 1, 1]),
        ("TAP", "reversal", [2, 2, 2]),
        ("TAP", "literal", [3, 6, 9]),
    ):
        toy, found = Toy(strategy), []
        update = toy.update(method=method_of(update_name), optimizer=ADAM)
        kept.clear()
        for _ in counts:
            toy.step(update)
            found.append(len(kept))
        assert found == counts


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The CPU is asked for lists at once, too, at most 30 elements in a copy."""
    for module in (lists, transaction):
        monkeypatch.setattr(module, "takes_lists", lambda device: True)
    monkeypatch.setattr(transaction, "_MOST", 30)


@pytest.mark.parametrize("on_host", [False, True])
def test_copies_end_to_end_put_each_tensor_back_bit_for_bit(as_on_a_gpu, on_host):
    shapes = [(), (3,), (4, 5), (40, 2), (1, 1), (2, 3, 5), ()]
    tensors = [torch.randn(shape) for shape in shapes]
    tensors += [torch.randn(6, 4).t(), torch.full((3,), -0.0), torch.tensor([3, 4])]
    tensors += [torch.randn(5, dtype=torch.float64), torch.tensor([float("nan"), float("inf")])]
    before = [tensor.clone() for tensor in tensors]
    copies = transaction.Copies([*tensors, tensors[2]], on_host=on_host)
    other = torch.zeros(2)
    for tensor in tensors:
        tensor.fill_(7)
    for one, expected in zip(copies.of([*tensors, other]), [*before, other], strict=True):
        assert torch.equal(one.nan_to_num(), expected.nan_to_num()) and one.shape == expected.shape
    copies.put_back()
    for tensor, expected in zip(tensors, before, strict=True):
        assert tensor.numpy().tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("update_name", UPDATES)
def test_a_failed_iteration_is_taken_back_from_copies_end_to_end(as_on_a_gpu, update_name):
    toy = Toy("TAP")
    update = toy.update(method=method_of(update_name), optimizer=ADAM, clipping=1.0)
    for _ in range(2):
        toy.step(update)
    before = everything(toy, update)
    broken = passes_of(toy, speaker=float("nan"))
    assert not update.step(*broken, 1.0, measure=True).finite
    assert same(states_of(everything(toy, update)), states_of(before))


def test_what_is_measured_of_lists_end_to_end_is_what_is_measured_one_by_one(request):
    torch.manual_seed(0)
    shared = [torch.nn.Parameter(torch.randn(shape)) for shape in ((30, 4), (7,), (2, 2))]
    before = [parameter.detach() + 0.1 * torch.randn_like(parameter) for parameter in shared]
    for parameter in shared[:2]:
        parameter.grad = torch.randn_like(parameter)

    def measured():
        ahead = compare_steps(shared, rate=0.01, before=before)
        summed = compare_gradients(before, shared)
        far = float(lists.distance(shared, before))
        return [far, ahead.share, ahead.angle, summed.share, summed.angle]

    one_by_one = measured()
    request.getfixturevalue("as_on_a_gpu")
    assert measured() == pytest.approx(one_by_one, rel=1e-5)
