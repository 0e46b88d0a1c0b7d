"""Stands for IBM's module that is to be imported before soamapi."""

IS_THERE = True
