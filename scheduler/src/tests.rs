//! Properties of filter, policies and table.
