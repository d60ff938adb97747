"""Training runs: the same bits however often they are stopped, and ends that lose nothing."""

import csv
import json
import pickle
import signal
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from pytorch_metric_learning.losses import ProxyAnchorLoss, TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer, MultipleReducers

from certimetric.deep import (
    EST,
    PGD,
    CertifiedEmbeddingClassifier,
    CertifiedPrototypes,
    LipschitzNetwork,
    MahalanobisDistance,
    MaxMin,
    OrthogonalLinear,
    Plain,
    PrototypeMarginLoss,
    Trainer,
    embed_all,
    load_model,
    make_loss,
    make_scheme,
    random_shifts,
    read_prototypes,
    retrieval_scores,
)
from certimetric.exceptions import DataError, InputError

pytestmark = pytest.mark.torch


class Bare:
    """An attack without a description of its own."""

    def __call__(self, objective, images, generator=None):
        return images


def triplet_loss(embeddings, labels, triplets, margin):
    anchors, positives, negatives = (embeddings[rows] for rows in triplets)
    gap = (anchors - positives).norm(dim=1) - (anchors - negatives).norm(dim=1)
    return (gap + margin).clamp(min=0).mean()


def fresh(dropout=False):
    torch.manual_seed(1)
    layers = [torch.nn.Flatten(), torch.nn.Linear(36, 16), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, *[torch.nn.Dropout(0.2)] * dropout, torch.nn.Linear(16, 8))


def scheme():
    return make_scheme("HM[S,LGA]&ICS", attack=PGD(eps=0.1, steps=2, random_start=True))


def run(data, model=None, *, stop_after=None, **settings):
    """A run of three epochs of four batches, stopped in the middle of a step if so wished."""
    model = fresh(dropout=True) if model is None else model
    settings = {"epochs": 3, "batch_size": 16, **settings}
    kind = settings.pop("scheme", None) or scheme()
    if stop_after is not None:
        kind = Stopping(kind, stop_after)
    trainer = Trainer(model, kind, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return trainer.fit(*data)


def Stopping(kind, count):  # noqa: N802
    """The same scheme, interrupted in its last step."""

    class _Stopping(type(kind)):
        left = count

        def __call__(self, *arguments):
            type(self).left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().__call__(*arguments)

    _Stopping.__name__ = type(kind).__name__
    kind.__class__ = _Stopping
    return kind


class Acting(Plain):
    """The plain scheme, which does something at the beginning of one of its steps."""

    def __init__(self, count, act):
        super().__init__()
        self.calls, self.count, self.act = 0, count, act

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.count:
            self.act()
        return super().__call__(*arguments)


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("stop_after", [1, 4, 6, 11])
def test_a_run_that_was_stopped_ends_at_the_same_bits(stop_after, small, tmp_path):
    whole = run(small)
    path = tmp_path / "run.pt"
    stopped = run(small, checkpoint=path, stop_after=stop_after)
    assert stopped.stop_reason_ == "interrupted"
    assert len(stopped.history_) == stop_after // 4
    resumed = run(small, checkpoint=path)
    assert torch.equal(weights(resumed.model), weights(whole.model))
    losses = [[row["loss"] for row in trainer.history_] for trainer in (whole, resumed)]
    assert losses[0] == losses[1]
    assert resumed.stop_reason_ == "epochs"


@pytest.mark.parametrize("passes", [3, 7, 16, 20, 27])
def test_a_run_that_was_stopped_within_a_step_ends_at_the_same_bits(passes, small, tmp_path):
    """Ctrl-C in a forward pass, of an attack or after it; with batch normalisation and dropout."""

    def model():
        torch.manual_seed(1)
        layers = [torch.nn.Linear(36, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.2)]
        return torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(16, 8))

    class Once(torch.nn.Sequential):
        left = passes

        def forward(self, values):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().forward(values)

    whole = run(small, model())
    path = tmp_path / "run.pt"
    stopped = run(small, Once(*model()), checkpoint=path)
    assert stopped.stop_reason_ == "interrupted"
    resumed = run(small, model(), checkpoint=path)
    assert torch.equal(weights(resumed.model), weights(whole.model))


def test_ctrl_c_twice_leaves_no_step_half_done(small, tmp_path):
    class Pressed(torch.optim.SGD):
        left = 0

        def step(self, closure=None):
            type(self).left -= 1
            with torch.no_grad():
                for value in self.param_groups[0]["params"]:
                    value.sub_(0.01 * value.grad)
                    if type(self).left == 0:
                        signal.raise_signal(signal.SIGINT)

    def fit(left, path=None):
        Pressed.left = left
        return run(small, optimizer=partial(Pressed, lr=0.01), checkpoint=path)

    whole = fit(100)
    assert fit(6, tmp_path / "run.pt").stop_reason_ == "interrupted"
    assert torch.equal(weights(fit(100, tmp_path / "run.pt").model), weights(whole.model))


def test_ctrl_c_waits_for_the_end_of_a_step(small):
    handler = signal.getsignal(signal.SIGINT)
    scheme = Acting(2, lambda: signal.raise_signal(signal.SIGINT))
    trainer = run(small, scheme=scheme)
    assert trainer.stop_reason_ == "interrupted"
    assert scheme.calls == trainer._run.place.batch == 2
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupted_validation_is_done_again(small, tmp_path):
    path, calls = tmp_path / "run.pt", []

    def validate(model):
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return float(len(calls))

    run(small, validate=validate, checkpoint=path)
    trainer = run(small, validate=validate, checkpoint=path)
    assert [row["epoch"] for row in trainer.history_] == [1, 2, 3]
    assert [row["validation"] for row in trainer.history_] == [1.0, 3.0, 4.0]


def test_what_a_loss_learns_is_trained_and_kept(small, tmp_path):
    def learned():
        kind = Plain()
        kind.loss = make_loss("triplet", MahalanobisDistance(8))
        return kind

    whole = learned()
    run(small, scheme=whole)
    assert not torch.equal(whole.loss.distance.components.detach(), torch.eye(8))
    path, last = tmp_path / "run.pt", learned()
    run(small, checkpoint=path, scheme=learned(), stop_after=5)
    run(small, checkpoint=path, scheme=last)
    assert torch.equal(last.loss.distance.components, whole.loss.distance.components)


def test_a_certified_network_is_trained_with_its_prototypes(small):
    images, codes = small
    torch.manual_seed(0)
    network = LipschitzNetwork(
        torch.nn.Flatten(), OrthogonalLinear(36, 20), MaxMin(), OrthogonalLinear(20, 8)
    )
    loss = PrototypeMarginLoss(4, 8, margin=0.6)
    loss.initialize(network(images).detach(), codes)

    def certified():
        clf = CertifiedEmbeddingClassifier(network).fit_embeddings(loss.points.detach().numpy(), loss.labels)
        return clf.certify(images, codes)

    before = certified().lower.mean()
    Trainer(network, CertifiedPrototypes(loss=loss), epochs=20, batch_size=32).fit(images, codes)
    after = certified()
    assert after.lower.mean() > before
    margins = loss.margins(network(images), codes).detach().numpy()
    assert (after.lower >= np.maximum(margins, 0) - 1e-3).all()


def certified_run(small, **settings):
    """A narrow network with prototypes that the scheme makes."""
    torch.manual_seed(0)
    network = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(36, 4), MaxMin(), OrthogonalLinear(4, 2))
    scheme = CertifiedPrototypes(n_prototypes=2, margin=0.6)
    make = partial(torch.optim.Adam, lr=1e-2)
    return run(small, network, scheme=scheme, optimizer=make, **settings)


@pytest.mark.parametrize("stop_after", [3, 4, 7])
def test_a_certified_run_that_was_stopped_ends_at_the_same_bits(stop_after, small, tmp_path):
    whole, path = certified_run(small), tmp_path / "run.pt"
    certified_run(small, checkpoint=path, stop_after=stop_after)
    again = certified_run(small, checkpoint=path)
    assert torch.equal(weights(again.model), weights(whole.model))
    assert torch.equal(again.scheme.loss.points, whole.scheme.loss.points)
    points, codes = read_prototypes(path)
    np.testing.assert_array_equal(points, whole.scheme.loss.points.detach())
    np.testing.assert_array_equal(codes, whole.scheme.loss.labels)


def test_the_prototypes_of_the_best_epoch_are_kept(small, tmp_path):
    path, seen = tmp_path / "run.pt", []

    def validate(model):
        seen.append(1)
        return -abs(len(seen) - 2)

    best = certified_run(small, checkpoint=path, epochs=3, validate=validate)
    second = certified_run(small, epochs=2).scheme.loss.points
    torch.testing.assert_close(best.scheme.loss.points, second)
    np.testing.assert_array_equal(read_prototypes(path)[0], best.scheme.loss.points.detach())


def test_an_optimizer_must_have_what_the_loss_learns(small):
    model = fresh()
    scheme = CertifiedPrototypes(n_prototypes=1)
    with pytest.raises(InputError, match="optimizer must have what the loss learns, too"):
        Trainer(model, scheme, torch.optim.Adam(model.parameters()), batch_size=16).fit(*small)
    with pytest.raises(InputError, match="has no points before prepare"):
        CertifiedPrototypes()(model, *small)


def test_a_run_with_other_augmentation_does_not_go_on(small, tmp_path):
    path = tmp_path / "run.pt"
    run(small, checkpoint=path, augment=partial(random_shifts, share=0.3))
    with pytest.raises(DataError, match="is of a run with other images or settings"):
        run(small, checkpoint=path, augment=partial(random_shifts, share=0.4))
    run(small, checkpoint=path, augment=partial(random_shifts, share=0.3), epochs=1)


def test_a_run_that_is_done_is_not_out_of_patience(small, tmp_path):
    path = tmp_path / "run.pt"
    run(small, checkpoint=path, epochs=3)
    assert run(small, checkpoint=path, epochs=2).stop_reason_ == "epochs"


def test_a_gradient_that_is_not_finite_ends_a_run(small):
    class Rooted(Plain):
        def __call__(self, model, images, labels, generator):
            return super().__call__(model, images, labels, generator) + (0 * model(images)).sqrt().sum()

    with pytest.warns(ConvergenceWarning, match="the loss of epoch 1 is not finite"):
        trainer = Trainer(fresh(), Rooted(), epochs=2, batch_size=16).fit(*small)
    assert trainer.stop_reason_ == "not_finite"
    assert torch.isfinite(weights(trainer.model)).all()


def test_a_scheme_begins_anew_with_each_fit(small):
    kind = scheme()
    first = run(small, scheme=kind)
    again = run(small, scheme=kind)
    assert torch.equal(weights(first.model), weights(again.model))


def test_training_finds_the_classes(small):
    images, codes = small
    model = fresh()
    before = retrieval_scores(embed_all(model, images), codes).map
    trainer = Trainer(model, Plain(), epochs=30, batch_size=32).fit(images, codes)
    assert retrieval_scores(embed_all(model, images), codes).map > max(0.9, before)
    assert trainer.history_[-1]["loss"] < trainer.history_[0]["loss"]


def test_a_schedule_and_shifts_end_at_the_same_bits_and_leave_the_rate_as_it_was(small, tmp_path):
    rates = []

    def noted(images, generator):
        rates.append(optimizer.param_groups[0]["lr"])
        return random_shifts(images, generator)

    def fitted(**settings):
        nonlocal optimizer
        model = fresh(dropout=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        return run(small, model, optimizer=optimizer, schedule="one-cycle", augment=noted, **settings)

    optimizer = None
    whole = fitted()
    shares = np.array(rates) / 0.02
    assert shares[0] == pytest.approx(1 / 25)
    assert shares.argmax() in (1, 2)
    assert (np.diff(shares[2:]) < 0).all()
    assert shares[-1] < 0.1
    assert optimizer.param_groups[0]["lr"] == 0.02
    path = tmp_path / "run.pt"
    fitted(checkpoint=path, stop_after=7)
    resumed = fitted(checkpoint=path)
    assert torch.equal(weights(resumed.model), weights(whole.model))
    with pytest.raises(DataError, match="other images or settings"):
        fitted(checkpoint=path, epochs=5)


def test_the_best_model_is_kept_and_patience_ends_the_run(small, tmp_path):
    path = tmp_path / "run.pt"
    scores, seen = iter([0.1, 0.5, 0.3, 0.4, 0.9]), []

    def validate(model):
        seen.append(weights(model).clone())
        return next(scores)

    trainer = run(small, epochs=9, validate=validate, patience=2, checkpoint=path)
    assert trainer.stop_reason_ == "patience"
    assert len(trainer.history_) == 4
    assert torch.equal(weights(trainer.model), seen[1])
    assert torch.equal(weights(load_model(fresh(dropout=True), path)), seen[1])
    # It has ended, and goes on no further.
    again = run(small, epochs=9, validate=validate, patience=2, checkpoint=path)
    assert again.stop_reason_ == "patience"
    assert len(seen) == 4
    assert torch.equal(weights(again.model), seen[1])


def test_a_loss_that_is_not_finite_leaves_the_last_whole_epoch(small, tmp_path):
    kept = []

    class Breaking(Plain):
        count = 0

        def __call__(self, *arguments):
            self.count += 1
            return super().__call__(*arguments) * (torch.nan if self.count == 7 else 1)

    # With a state in the middle of the epoch.
    path = tmp_path / "run.pt"
    trainer = Trainer(fresh(), Breaking(), epochs=3, batch_size=16, checkpoint=path, checkpoint_minutes=1e-9)
    trainer.callback = lambda row: kept.append(weights(trainer.model).clone())
    with pytest.warns(ConvergenceWarning, match="the loss of epoch 2 is not finite"):
        trainer.fit(*small)
    assert trainer.stop_reason_ == "not_finite"
    assert torch.equal(weights(trainer.model), kept[0])
    assert torch.equal(weights(load_model(fresh(), path)), kept[0])


@pytest.mark.parametrize("name", ["none[D]", "RO[pos]", "HM[R,D]"])
def test_weights_that_overflow_end_a_run_of_any_triplets(name, small):
    kind = make_scheme(name, attack=PGD(eps=0.1, steps=1))
    make = partial(torch.optim.SGD, lr=1e38)
    with pytest.warns(ConvergenceWarning, match="is not finite"):
        trainer = Trainer(fresh(), kind, optimizer=make, epochs=4, batch_size=16).fit(*small)
    assert trainer.stop_reason_ == "not_finite"


@pytest.mark.parametrize(
    "make",
    [
        Plain,
        scheme,
        lambda: make_scheme("none[D]"),
        lambda: Plain(miner=BatchHardMiner()),
        lambda: Plain(loss=ProxyAnchorLoss(4, 8, reducer=MultipleReducers({"a": MeanReducer()}))),
        lambda: Plain(loss=TripletMarginLoss(reducer=AvgNonZeroReducer(collect_stats=True))),
        lambda: EST(attack=Bare()),
    ],
)
def test_a_scheme_that_was_used_goes_on_from_its_own_checkpoint(make, small, tmp_path):
    path, kind = tmp_path / "run.pt", make()
    before = str(kind.settings())
    settings = {"scheme": kind, "checkpoint": path, "optimizer": partial(torch.optim.Adam, lr=1e-3)}
    assert run(small, time_limit=1e-9, **settings).stop_reason_ == "time_limit"
    assert str(kind.settings()) == before
    assert run(small, **settings).stop_reason_ == "epochs"
    # And so does another of the same settings.
    run(small, **{**settings, "scheme": make()}, epochs=4)


def test_functions_with_other_arguments_are_other_settings():
    losses = [partial(triplet_loss, margin=margin) for margin in (0.1, 0.2)]
    assert Plain(loss=losses[0]).settings() != Plain(loss=losses[1]).settings()
    assert Plain(loss=len).settings() != Plain(loss=sum).settings()


def test_warnings_that_are_errors_lose_no_state(small, tmp_path):
    path = tmp_path / "run.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="was interrupted"):
            Trainer(fresh(True), Stopping(scheme(), 6), epochs=3, batch_size=16, checkpoint=path).fit(*small)
    assert torch.equal(weights(run(small, checkpoint=path).model), weights(run(small).model))


def test_lists_of_parameters_and_shares_of_dropout_do_not_make_another_model(small, tmp_path):
    class Listed(torch.nn.Sequential):
        def __init__(self, share, kind=torch.float32):
            super().__init__(*fresh(), torch.nn.Dropout(share))
            self.more = torch.nn.ParameterList([torch.zeros(2, dtype=kind)])

        def forward(self, values):
            for layer in list(self)[:-1]:
                values = layer(values)
            return values

    path = tmp_path / "run.pt"
    run(small, Listed(0.1), checkpoint=path)
    load_model(Listed(0.5, torch.float64), path)


def test_an_error_in_a_batch_says_in_which(small):
    def refuse():
        raise InputError("no triplet in the batch.")

    with pytest.raises(InputError, match="epoch 2, batch 2: no triplet in the batch"):
        Trainer(fresh(), Acting(6, refuse), epochs=3, batch_size=16).fit(*small)


def test_a_checkpoint_of_other_layers_of_the_same_shapes_is_refused(small, tmp_path):
    path = tmp_path / "run.pt"
    run(small, fresh(), checkpoint=path)
    other = fresh()
    other[2] = torch.nn.Tanh()
    with pytest.raises(DataError, match=r"is of another model: .*ReLU.* there and .*Tanh.* here"):
        load_model(other, path)
    with pytest.raises(DataError, match="is of another model"):
        run(small, other, checkpoint=path)


def test_the_parts_of_a_loss_tell_runs_apart(small, tmp_path):
    from pytorch_metric_learning.distances import CosineSimilarity, LpDistance

    path = tmp_path / "run.pt"
    run(small, scheme=Plain(loss=TripletMarginLoss(distance=LpDistance())), checkpoint=path)
    with pytest.raises(DataError, match="other images or settings"):
        run(small, scheme=Plain(loss=TripletMarginLoss(distance=CosineSimilarity())), checkpoint=path)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_bit_that_is_not_what_it_was_is_noticed(share, small, tmp_path):
    path = tmp_path / "run.pt"
    run(small, fresh(), checkpoint=path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entries = [info for info in archive.infolist() if info.file_size > 200]
        info = entries[int(share * len(entries))]
        value = archive.read(info)
    content[content.index(value) + len(value) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged: .* has another checksum"):
        load_model(fresh(), path)


def test_limits_and_callbacks_end_a_run(small):
    assert run(small, time_limit=1e-9).stop_reason_ == "time_limit"
    trainer = run(small, callback=lambda row: row["epoch"] == 2)
    assert trainer.stop_reason_ == "callback"
    assert len(trainer.history_) == 2


def test_gradients_are_clipped(small):
    model = fresh()
    start = weights(model).clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    run(small, model, optimizer=optimizer, clip=1e-4, epochs=1)
    assert 0 < float((weights(model) - start).norm()) <= 4e-4 + 1e-6


def test_logs_have_a_row_for_each_epoch_of_a_run_that_was_stopped_too(small, tmp_path):
    for name in ("log.jsonl", "log.csv"):
        path, state = tmp_path / name, tmp_path / f"{name}.pt"
        run(small, log=path, checkpoint=state, stop_after=6)
        trainer = run(small, log=path, checkpoint=state)
        text = path.read_text()
        rows = (
            list(csv.DictReader(text.splitlines()))
            if name.endswith("csv")
            else list(map(json.loads, text.splitlines()))
        )
        assert [float(row["loss"]) for row in rows] == [row["loss"] for row in trainer.history_]
        assert len(rows) == 3


def test_checkpoints_of_others_are_refused(small, tmp_path):
    path = tmp_path / "run.pt"
    run(small, checkpoint=path)
    with pytest.raises(DataError, match="other images or settings"):
        run(small, checkpoint=path, seed=2)
    with pytest.raises(DataError, match="other images or settings"):
        run((small[0] * 0.5, small[1]), checkpoint=path)
    others = ["HM[S,LGA]", "HM[R,LGA]&ICS", "HM[S,M]&ICS", "MM[S]&ICS", "ACT[S]"]
    attack = scheme().attack
    kinds = [make_scheme(name, attack=attack) for name in others]
    kinds += [make_scheme("HM[S,LGA]&ICS", attack=attack, **{key: 0.3}) for key in ("margin", "ics")]
    kinds += [make_scheme("HM[S,LGA]&ICS", attack=PGD(eps=0.1, steps=2))]
    for kind in kinds:
        with pytest.raises(DataError, match="other images or settings"):
            run(small, checkpoint=path, scheme=kind)
    model = fresh(dropout=True)
    with pytest.raises(DataError, match="other images or settings"):
        run(small, model, checkpoint=path, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2))
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25, 16))
    with pytest.raises(
        DataError, match=r"another model: 1.weight has shape \[16, 36\] there and \[16, 25\] here"
    ):
        load_model(other, path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as a checkpoint"):
            run(small, checkpoint=path)
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        load_model(fresh(), tmp_path / "missing.pt")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path, mark = tmp_path / "evil.pt", tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return (mark.write_text, ("it ran",))

    torch.save({"format": "certimetric.deep", "version": 1, "weights": Evil()}, path)
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        load_model(fresh(), path)
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        load_model(fresh(), path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer, 1 or more"),
        ({"epochs": 1.5}, "epochs must be an integer, 1 or more"),
        ({"clip": "a"}, "clip must be positive and finite, got 'a'"),
        (
            {"optimizer": torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)},
            "optimizer must have parameters of the model, but has none",
        ),
        ({"optimizer": torch.optim.LBFGS}, "optimizer must make a step of one gradient"),
        ({"schedule": "cosine"}, "schedule must be 'constant' or 'one-cycle', got 'cosine'"),
        ({"log": "/nonexistent/log.csv"}, "log must be in a folder that is there"),
        ({"checkpoint": "/nonexistent/run.pt"}, "checkpoint must be in a folder that is there"),
        ({"about": {"path": Plain}}, "about must have plain values"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"time_limit": np.nan}, "time_limit must be positive"),
        ({"patience": 2}, "patience needs validate"),
        ({"batch_size": 7}, "batch_size must be an even number, 4 or more, got 7"),
        ({"batch_size": 80}, "batch_size must be at most 64 for these labels, got 80"),
    ],
)
def test_bad_settings_are_refused(settings, message, small):
    with pytest.raises(InputError, match=message):
        run(small, **settings)


def test_bad_data_is_refused(small):
    images, codes = small
    with pytest.raises(InputError, match=r"images must lie in \[0, 1\]; image 0 has the value nan"):
        run((images * torch.nan, codes))
    with pytest.raises(InputError, match=r"model does not take images of shape \(1, 6, 5\)"):
        run((images[..., :5], codes))
    with pytest.raises(InputError, match="each class needs 2 images at least; class 9 has 1"):
        run((images, torch.cat([codes[:-1], torch.tensor([9])])))
    model = fresh()
    model.channels = 3
    with pytest.raises(InputError, match=r"images must have 3 channel\(s\), got 1"):
        run(small, model)
