"""Planning after nnU-Net: fingerprint of a collection, target spacing, patch, batch and network."""

from data_preparation.planning.fingerprint import CaseFacts, Fingerprint, Intensities, case_facts, fingerprint
from data_preparation.planning.planner import PRESETS, Configuration, plan, target_spacing
from data_preparation.planning.topology import Topology, feature_values, topology

__all__ = [
    "PRESETS",
    "CaseFacts",
    "Configuration",
    "Fingerprint",
    "Intensities",
    "Topology",
    "case_facts",
    "feature_values",
    "fingerprint",
    "plan",
    "target_spacing",
    "topology",
]
