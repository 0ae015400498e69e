"""Teacher and student: PyTorch's own layers as the second teacher, moments of the inputs, sizes that nest."""

import math

import pytest
import torch
from loops import for_each
from torch import nn

from circuitgrok.tasks.teacher_student import TeacherStudent, answers, teacher

EPS = torch.finfo(torch.float64).eps


def of_pytorch(config: TeacherStudent) -> nn.Sequential:
    """The network that PyTorch builds under the teacher's seed, times alpha."""
    sizes = [config.n_in, *[config.teacher_width] * config.teacher_depth, config.n_out]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.teacher_seed)
        layers: list[nn.Module] = []
        for n_in, n_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(n_in, n_out, dtype=torch.float64), nn.Tanh()]
    net = nn.Sequential(*layers[:-1]).requires_grad_(False)
    for parameter in net.parameters():
        parameter *= config.teacher_alpha
    return net


@for_each("alpha", [0.5, 1.0, 3.0])
@for_each(("width", "depth"), [(100, 2), (7, 1), (20, 4)])
def test_teacher_is_the_network_that_pytorch_draws(alpha, width, depth):
    config = TeacherStudent(teacher_width=width, teacher_depth=depth, teacher_alpha=alpha, teacher_seed=3)
    net, layers = of_pytorch(config), teacher(config)
    # The bound of its weights is sqrt(3) sqrt(1 / (3 n)) there and 1 / sqrt(n) here: a few roundings apart. Either is
    # added after a product of up to twice its size, so that what is left near zero has errors of that size, alpha.
    for parameter, ours in zip(net.parameters(), [x for layer in layers for x in layer], strict=True):
        torch.testing.assert_close(ours, parameter, rtol=8 * EPS, atol=4 * EPS * alpha)
    task = config.draw()
    # Each sum has up to 101 terms of at most alpha / sqrt(n) * max|x|, and a layer passes on what it gets at most
    # sqrt(n) alpha times as large: errors stay below 101 * 10 eps times (alpha sqrt(n))^(depth).
    bound = 1000 * EPS * max(1.0, alpha * math.sqrt(width)) ** depth
    torch.testing.assert_close(task.labels, net(task.inputs), rtol=0, atol=bound)


def test_norm_of_the_teacher_is_that_of_its_init():
    """Each of U(-1, 1) / sqrt(n) has mean square 1 / (3 n); its square has variance 4 / 45 / n^2."""
    layers = teacher(TeacherStudent(teacher_seed=1, teacher_alpha=2.0))
    counts = {5: 100 * 6, 100: 100 * 101 + 5 * 101}
    expected = sum(4 * count / (3 * n) for n, count in counts.items())
    stderr = math.sqrt(sum(16 * count * 4 / 45 / n**2 for n, count in counts.items()))
    assert abs(sum(float(x.square().sum()) for layer in layers for x in layer) - expected) < 4 * stderr


def test_inputs_are_standard_normal():
    """A mean of n has variance 1 / n, a mean of n squares 2 / n, a mean of n fourth powers 96 / n."""
    inputs = TeacherStudent(n_train=3000, n_test=1000, data_seed=2).draw().inputs
    n = inputs.numel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        assert abs(inputs.pow(power).mean().item() - moment) < 4 * math.sqrt(variance / n)


def test_answers_of_a_net_by_hand():
    layers = [
        (torch.tensor([[2.0, 0.0]]), torch.tensor([1.0])),
        (torch.tensor([[3.0], [-1.0]]), torch.tensor([0.5, 0.0])),
    ]
    found = answers([(W.double(), b.double()) for W, b in layers], torch.tensor([[0.25, 9.0]]).double())
    once = math.tanh(1.5)
    expected = torch.tensor([[3 * once + 0.5, -once]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=4 * EPS, atol=0)


def test_test_set_is_the_same_for_every_size_and_a_smaller_training_set_part_of_a_larger():
    for n_in in (5, 32):
        less, more = (TeacherStudent(n_in=n_in, n_train=n, n_test=50).draw() for n in (17, 80))
        assert torch.equal(less.inputs[less.where("test")], more.inputs[more.where("test")])
        assert torch.equal(less.inputs[less.is_train], more.inputs[more.is_train][:17])
        assert less.n_train == 17 and more.n_train == 80


def test_seeds_of_inputs_and_of_the_teacher_are_apart():
    one, data, other = (TeacherStudent(data_seed=d, teacher_seed=t).draw() for d, t in ((0, 0), (1, 0), (0, 1)))
    assert torch.equal(one.inputs, other.inputs) and not torch.equal(one.labels, other.labels)
    assert not torch.equal(one.inputs, data.inputs) and len({task.split_hash for task in (one, data, other)}) == 3


def test_drawing_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    TeacherStudent(data_seed=99, teacher_seed=99).draw()
    assert torch.equal(torch.get_rng_state(), before)


def test_label_scale_is_the_error_of_who_answers_zero():
    config = TeacherStudent(teacher_alpha=0.5)
    labels = config.draw().labels
    assert config.label_scale == pytest.approx(
        math.sqrt(sum(x**2 for x in labels.flatten().tolist()) / 1000), rel=1e-12
    )
    wrong = labels.square().mean(1) >= config.tolerance
    assert wrong.any() and not wrong.all()  # the tolerance is absolute: for a small teacher 0 is often right


def test_config_says_what_the_trainer_needs():
    config = TeacherStudent(n_in=4, n_out=3, teacher_depth=3, teacher_width=10, n_train=20, n_test=30)
    task = config.draw()
    assert (config.p, config.n_classes, config.n_features, config.n_pairs) == (None, 3, 4, 50)
    assert task.inputs.shape == (50, 4) and task.labels.shape == (50, 3) and task.labels.dtype == torch.float64
    assert config.n_train == task.n_train and not task.labels.requires_grad
    assert config.formula == "answers of a tanh net 4-10-10-10-3, default init times 1"
    assert TeacherStudent.model_validate_json(config.model_dump_json()) == config
    assert all(field.description for name, field in TeacherStudent.model_fields.items() if name != "kind")


@for_each(
    ("fields", "message"),
    [
        ({"teacher_alpha": 0.0}, "teacher_alpha\n.*greater than 0"),
        ({"teacher_alpha": float("inf")}, "teacher_alpha\n.*finite"),
        ({"tolerance": -1.0}, "tolerance\n.*greater than 0"),
        ({"teacher_depth": 0}, "teacher_depth\n.*greater than or equal to 1"),
        ({"n_train": 0}, "n_train\n.*greater than or equal to 1"),
        ({"noise": 0.1}, "noise\n.*Extra inputs"),
    ],
)
def test_value_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TeacherStudent.model_validate(fields)
