"""An epoch of learning on exact radii, beside the certification of the training set under what it learned.

An epoch is a pass over the rows with its share of a whole fit, and of all that a fit does before and after;
it is before a part of the rows only, and signed radii stop at a cap, so that it may be the cheaper one.
"""

from collections.abc import Iterator

from _data import load
from _figures import Figure, Settings, Spent, Target, alternate, clock, compare
from certimetric import CertifiedKNeighborsClassifier
from certimetric.learning import ExactRadius


def epoch(settings: Settings, name: str) -> Iterator[Figure]:
    data = load(settings.data, name)
    learner = ExactRadius(random_state=0, n_jobs=settings.threads).fit(data.X, data.y)
    # Chosen once for a fit, not in each epoch.
    learner.set_params(reference_share=learner.reference_share_)
    clf = CertifiedKNeighborsClassifier(metric=learner, n_jobs=settings.threads).fit(data.X, data.y)
    fit, count = clock(lambda: learner.fit(data.X, data.y)), learner.max_iter_

    def one() -> Spent:
        spent = fit()
        return Spent(spent.wall / count, spent.processor / count)

    sides = {"ours": one, "its certification": clock(lambda: clf.certify(data.X, data.y))}
    spent = alternate(sides, settings.repetitions)
    yield compare(f"an epoch of ExactRadius, {data.title}", spent, "its certification", Target(3.0))


CASES = {
    name: lambda settings, name=name: epoch(settings, name) for name in ("splice", "satimage", "pendigits")
}
