"""Radii in the space of images, from exact radii in the space of embeddings."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from certimetric._validation import as_eps
from certimetric.certification import Certification
from certimetric.deep._frozen import Frozen, freeze
from certimetric.deep.embedding import check_images
from certimetric.deep.lipschitz import LipschitzNetwork
from certimetric.exceptions import InputError, InputTypeError
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = ["CertifiedEmbeddingClassifier"]

_U = 2.0**-53


class CertifiedEmbeddingClassifier:
    r"""K nearest neighbours in the embedding of a network that no distance grows through.

    With :math:`\|\varphi(x) - \varphi(y)\|_2 \le L \|x - y\|_2` the radius of an image is at least
    :math:`r^*(\varphi(x)) / L`, where r* is the exact radius of the nearest-neighbour classifier in embedding
    space. Three things are accounted for: L is proven from the weights as they are, a computed embedding is
    up to e away from φ(x), and the quotient is rounded down: lower = (r* − e) / L.

    Training embeddings are what was computed for them, rows like any others; φ is the real function.

    Parameters
    ----------
    network : LipschitzNetwork
        Trained; what it does afterwards does not matter.
    n_neighbors : int
    metric
        Of the embedding space, as for :class:`~certimetric.CertifiedKNeighborsClassifier`.
    n_jobs : int, optional

    Attributes
    ----------
    lipschitz_ : float
        L, rounded up.
    classifier_ : CertifiedKNeighborsClassifier
        In embedding space.

    Raises
    ------
    InputTypeError
        The network is no :class:`LipschitzNetwork`.
    """

    lipschitz_: float
    classifier_: CertifiedKNeighborsClassifier

    def __init__(
        self,
        network: LipschitzNetwork,
        n_neighbors: int = 1,
        metric: Any = "euclidean",
        n_jobs: int | None = None,
    ) -> None:
        if not isinstance(network, LipschitzNetwork):
            raise InputTypeError(
                f"network must be a LipschitzNetwork, whose constant is known, got {type(network).__name__}."
            )
        self.network, self.n_neighbors, self.metric, self.n_jobs = network, n_neighbors, metric, n_jobs

    def fit(self, images: Tensor | NDArray[np.floating], y: ArrayLike) -> "CertifiedEmbeddingClassifier":
        """Embed the training images.

        Parameters
        ----------
        images : tensor or array of shape (n, C, H, W), in [0, 1]
        y : array-like of shape (n,)
        """
        images = check_images(images)
        rows, _ = self._frozen()(images)
        self._shape: tuple[int, ...] | None = tuple(images.shape[1:])
        return self._with_rows(rows, y)

    def fit_embeddings(self, rows: ArrayLike, y: ArrayLike) -> "CertifiedEmbeddingClassifier":
        """Take points of the embedding space for training rows, such as learned prototypes.

        Parameters
        ----------
        rows : array-like of shape (n, p)
        y : array-like of shape (n,)
        """
        self._frozen()
        self._shape = None
        return self._with_rows(rows.detach().cpu().numpy() if isinstance(rows, Tensor) else rows, y)

    def _frozen(self) -> Frozen:
        self._function = freeze(self.network)
        self.lipschitz_ = self._function.constant
        return self._function

    def _with_rows(self, rows: ArrayLike, y: ArrayLike) -> "CertifiedEmbeddingClassifier":
        labels = y.cpu().numpy() if isinstance(y, Tensor) else y
        self.classifier_ = CertifiedKNeighborsClassifier(
            n_neighbors=self.n_neighbors, metric=self.metric, n_jobs=self.n_jobs
        ).fit(rows, labels)
        return self

    def _embedded(self, images: Tensor | NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
        if not hasattr(self, "classifier_"):
            raise InputError("CertifiedEmbeddingClassifier is not fitted: call fit first.")
        images = check_images(images)
        if self._shape not in (None, tuple(images.shape[1:])):
            wanted = ", ".join(map(str, self._shape or ()))
            raise InputError(f"images must have shape (n, {wanted}), got {tuple(images.shape)}.")
        rows, error = self._function(images)
        if rows.shape[1] != self.classifier_.n_features_in_:
            raise InputError(
                f"network gives {rows.shape[1]} numbers for images of shape {tuple(images.shape[1:])}, but "
                f"the embeddings that were fitted have {self.classifier_.n_features_in_}."
            )
        return rows, error

    def transform(self, images: Tensor | NDArray[np.floating]) -> NDArray[np.float64]:
        """Embeddings as computed, shape (n, p), float64."""
        return self._embedded(images)[0]

    def predict(self, images: Tensor | NDArray[np.floating]) -> NDArray[Any]:
        """Labels of images, shape (n,)."""
        rows, _ = self._embedded(images)
        found: NDArray[Any] = self.classifier_.predict(rows)
        return found

    def certify(
        self, images: Tensor | NDArray[np.floating], y: ArrayLike | None = None, **settings: Any
    ) -> Certification:
        """Radii of images, proven from below.

        Parameters
        ----------
        images : tensor or array of shape (m, C, H, W), in [0, 1]
        y : array-like of shape (m,), optional
            Labels to certify; default: the predicted ones.
        **settings
            Of :meth:`CertifiedKNeighborsClassifier.certify`, such as ``method``, ``rule``, ``time_limit``,
            ``progress``, and ``eps``, radii in image space.

        Returns
        -------
        Certification
            ``lower`` is a ℓ2 norm in image space; ``upper`` is infinite but for misclassified images, for an
            adversarial embedding is no image.
        """
        for name in ("return_adversarial", "return_certificates"):
            if settings.get(name):
                raise InputError(
                    f"{name} must be False: adversarial points and certificates are of embeddings."
                )
        images = check_images(images)
        rows, error = self._embedded(images)
        labels = y.cpu().numpy() if isinstance(y, Tensor) else y
        asked = as_eps(settings.pop("eps", None), "eps")
        # What has to be known of embeddings for r > eps of images, with room for the roundings below.
        inside = [(eps * self.lipschitz_ + error) * (1 + 32 * _U) for eps in asked]
        found = self.classifier_.certify(rows, labels, **settings, eps=inside or None)
        away = np.maximum(found.lower - error, 0.0) * (1 - 4 * _U) / self.lipschitz_
        lower = np.where(found.lower > error, away * (1 - 4 * _U), 0.0)
        is_wrong = found.status == "misclassified"
        run = replace(
            found.run,
            eps=asked if len(asked) > 1 else next(iter(asked), None),
            n_features=images[0].numel(),
            metric=f"embedding with L ≤ {self.lipschitz_:.9g}, {found.run.metric}",
        )
        return replace(
            found,
            lower=lower,
            upper=np.where(is_wrong, 0.0, np.inf),
            status=np.where(found.status == "exact", "bounded", found.status),
            run=run,
        )
