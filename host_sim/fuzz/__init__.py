"""Mutated messages: at parsers, and at boards and coordinators in the middle of complete rounds and
queries."""
