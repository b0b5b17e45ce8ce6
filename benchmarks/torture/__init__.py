"""Attacks on crossrec: kills, full disks, altered files, races, little memory and hostile requests.

``python -m benchmarks.torture`` runs them all within a given time. Each attack draws its trials from one seed.
"""
