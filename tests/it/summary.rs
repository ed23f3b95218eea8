//! The lines that sum up a run.
