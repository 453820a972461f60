# SPDX-License-Identifier: Apache-2.0
"""Beam: grouped attention with biased gates, of which some layers do not turn."""

from .family import Family, biased_choices, no_rope

BEAM = {"beam": Family("BeamForCausalLM", choices=biased_choices, rope=no_rope)}
