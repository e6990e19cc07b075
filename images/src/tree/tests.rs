//! Layers against a naive model.
