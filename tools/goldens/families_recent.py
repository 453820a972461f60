# SPDX-License-Identifier: Apache-2.0
"""Families of 2025 whose routers are not plain softmax."""

RECENT = {}
