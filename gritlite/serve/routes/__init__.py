"""Addresses that belong to no vendor's interface."""
