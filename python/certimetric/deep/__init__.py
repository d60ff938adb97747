"""Robust deep metric learning with PyTorch: training, attacks, scores, and embeddings that are certified.

Needs the extra ``torch``: ``pip install 'certimetric[torch]'``.
"""

from certimetric._optional import require

require("torch", extra="torch")
require("pytorch_metric_learning", extra="torch")

from certimetric.deep._checkpoint import load_model, read_about, read_prototypes
from certimetric.deep.attacks import PGD
from certimetric.deep.certified import CertifiedEmbeddingClassifier
from certimetric.deep.configuration import PRESETS, Configuration
from certimetric.deep.data import ImageSet, PairSampler, random_shifts, read_image_folder, read_images
from certimetric.deep.distances import EuclideanDistance, MahalanobisDistance
from certimetric.deep.embedding import embed, embed_all
from certimetric.deep.evaluation import RetrievalScores, retrieval_scores
from certimetric.deep.lipschitz import (
    AOLConv2d,
    Householder,
    LipschitzNetwork,
    MaxMin,
    OrthogonalLinear,
    PotentialLayer,
)
from certimetric.deep.losses import PrototypeMarginLoss, make_loss, triplet_margins
from certimetric.deep.mining import TripletMiner
from certimetric.deep.models import ConvNet28, LeNet28, LipschitzNet28, make_model
from certimetric.deep.presets import make_scheme
from certimetric.deep.robustness import PGD_28, PGD_224, RobustnessScore, attack_images, robustness_score
from certimetric.deep.schemes import (
    ACT,
    EST,
    CertifiedPrototypes,
    CertifiedTriplets,
    HardnessManipulation,
    Plain,
    RobustOptimization,
    Scheme,
)
from certimetric.deep.trainer import Trainer

__all__ = [
    "ACT",
    "EST",
    "PGD",
    "PGD_28",
    "PGD_224",
    "PRESETS",
    "AOLConv2d",
    "CertifiedEmbeddingClassifier",
    "CertifiedPrototypes",
    "CertifiedTriplets",
    "Configuration",
    "ConvNet28",
    "EuclideanDistance",
    "HardnessManipulation",
    "Householder",
    "ImageSet",
    "LeNet28",
    "LipschitzNet28",
    "LipschitzNetwork",
    "MahalanobisDistance",
    "MaxMin",
    "OrthogonalLinear",
    "PairSampler",
    "Plain",
    "PotentialLayer",
    "PrototypeMarginLoss",
    "RetrievalScores",
    "RobustOptimization",
    "RobustnessScore",
    "Scheme",
    "Trainer",
    "TripletMiner",
    "attack_images",
    "embed",
    "embed_all",
    "load_model",
    "make_loss",
    "make_model",
    "make_scheme",
    "random_shifts",
    "read_about",
    "read_image_folder",
    "read_images",
    "read_prototypes",
    "retrieval_scores",
    "robustness_score",
    "triplet_margins",
]
