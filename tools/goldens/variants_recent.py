# SPDX-License-Identifier: Apache-2.0
"""The golden variants of the families in families_recent.py."""

RECENT = []
